;; bench: group=host n=5000000 checksum=5000000 imports=env.zero
;; quick: n=1000 checksum=1000
;;
;; Calls of a host function with two arguments and a result, which is 0.
(module
  (import "env" "zero" (func $zero (param i32 i32) (result i32)))
  (func (export "run") (param $n i32) (result i32)
    (local $i i32) (local $x i32)
    (block $done
      (loop $again
        (br_if $done (i32.ge_s (local.get $i) (local.get $n)))
        (local.set $x
          (i32.add (local.get $x)
            (i32.add (call $zero (local.get $x) (local.get $i)) (i32.const 1))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $again)))
    (local.get $x)))
