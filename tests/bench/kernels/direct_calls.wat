;; bench: group=calls n=3000000 checksum=1897130340
;; quick: n=1000 checksum=-380426802
;;
;; A chain of five small functions, called n times. An engine that inlines them
;; has next to nothing left to do.
(module
  (func $mix (param $a i32) (param $b i32) (result i32)
    (i32.xor (i32.rotl (local.get $a) (i32.const 5)) (local.get $b)))
  (func $twice (param $a i32) (param $b i32) (result i32)
    (i32.add
      (call $mix (local.get $a) (local.get $b))
      (call $mix (local.get $b) (local.get $a))))
  (func $step (param $a i32) (param $b i32) (result i32)
    (i32.sub
      (call $twice (local.get $a) (local.get $b))
      (call $mix (local.get $a) (i32.const 0x9e3779b9))))
  (func (export "run") (param $n i32) (result i32)
    (local $x i32)
    (loop $again
      (if (local.get $n)
        (then
          (local.set $x (call $step (local.get $x) (local.get $n)))
          (local.set $n (i32.sub (local.get $n) (i32.const 1)))
          (br $again))))
    (local.get $x)))
