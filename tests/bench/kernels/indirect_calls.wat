;; bench: group=calls n=6000000 checksum=1489785041
;; quick: n=1000 checksum=2113764190
;;
;; Calls through a table of four functions, whose choice depends on the last
;; answer: each checks the index and the type.
(module
  (type $mixer (func (param i32 i32) (result i32)))
  (table 4 4 funcref)
  (elem (i32.const 0) $add $xor $mul $sub)
  (func $add (type $mixer)
    (i32.add (local.get 0) (i32.rotl (local.get 1) (i32.const 3))))
  (func $xor (type $mixer)
    (i32.xor (local.get 1) (i32.rotl (local.get 0) (i32.const 7))))
  (func $mul (type $mixer)
    (i32.add (i32.mul (local.get 0) (i32.const 0x01000193)) (local.get 1)))
  (func $sub (type $mixer)
    (i32.sub (local.get 1) (local.get 0)))
  (func (export "run") (param $n i32) (result i32)
    (local $x i32)
    (loop $again
      (if (local.get $n)
        (then
          (local.set $x
            (call_indirect (type $mixer)
              (local.get $x)
              (local.get $n)
              (i32.and
                (i32.add (local.get $n) (i32.shr_u (local.get $x) (i32.const 30)))
                (i32.const 3))))
          (local.set $n (i32.sub (local.get $n) (i32.const 1)))
          (br $again))))
    (local.get $x)))
