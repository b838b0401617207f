;; bench: group=host n=8000000 checksum=8000000 imports=env.nop
;; quick: n=1000 checksum=1000
;;
;; Calls of a host function that does nothing, n times; the loop is included.
(module
  (import "env" "nop" (func $nop))
  (func (export "run") (param $n i32) (result i32)
    (local $i i32)
    (block $done
      (loop $again
        (br_if $done (i32.ge_s (local.get $i) (local.get $n)))
        (call $nop)
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $again)))
    (local.get $i)))
