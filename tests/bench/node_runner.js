// Runs one kernel in V8 and prints what `callgate bench --json` prints, as far
// as V8 tells it.
//
//   node --no-liftoff --no-wasm-lazy-compilation node_runner.js MODULE N REPEAT
//
// With those flags TurboFan compiles every function before the first call.

'use strict';

const fs = require('fs');

const [path, text, repeatText] = process.argv.slice(2);
const n = Number(text);
const repeat = Number(repeatText);

// A batch lasts at least this long, as in `callgate bench`.
const BATCH_NS = 100000;

const now = () => Number(process.hrtime.bigint());

const bytes = fs.readFileSync(path);
const beforeCompile = now();
const module_ = new WebAssembly.Module(bytes);
const compiled = now();

const imports = {};
for (const {module: from, name, kind} of WebAssembly.Module.imports(module_)) {
  if (kind !== 'function') throw new Error(`${from}.${name} is a ${kind}`);
  imports[from] = imports[from] || {};
  // V8 calls a host function with the arguments that it declares.
  imports[from][name] = name === 'nop' ? () => {} : (a, b) => 0;
}

let least = Infinity;
let instance;
for (let i = 0; i < 10; ++i) {
  const before = now();
  instance = new WebAssembly.Instance(module_, imports);
  least = Math.min(least, now() - before);
}
const run = instance.exports.run;

const result = run(n);
let stable = true;
// In a function of its own, so that V8 compiles this loop as any other.
function batchOf(count) {
  const before = now();
  let all = 0;
  for (let i = 0; i < count; ++i) all = run(n);
  const after = now();
  if (all !== result) stable = false;
  return after - before;
}

let batch = 1;
while (batchOf(batch) < BATCH_NS) batch *= 2;
// The JavaScript side of an entry is compiled only when it is hot.
if (batch > 1) {
  const until = now() + 3e8;
  while (now() < until) batchOf(batch);
  while (batchOf(batch) < BATCH_NS) batch *= 2;
}

const times = [];
for (let i = 0; i < repeat; ++i) times.push(batchOf(batch) / batch);
times.sort((a, b) => a - b);
const middle = times.length >> 1;
const median = times.length % 2 === 1 ?
    times[middle] :
    (times[middle - 1] + times[middle]) / 2;

console.log(JSON.stringify({
  compile_ms: (compiled - beforeCompile) / 1e6,
  instantiate_us: least / 1e3,
  call_ns: {min: times[0], median},
  batch,
  stable,
  result: String(result),
}));
