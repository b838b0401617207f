;; bench: group=compute n=500 checksum=-1671780614
;; quick: n=10 checksum=-1797601406
;;
;; Four loops in one another, n x 40 x 40 x 40 turns of one addition and one
;; exclusive or. In the text format, since a C compiler would collapse them.
(module
  (func (export "run") (param $n i32) (result i32)
    (local $a i32) (local $b i32) (local $c i32) (local $x i32)
    (block $done
      (loop $outermost
        (br_if $done (i32.le_s (local.get $n) (i32.const 0)))
        (local.set $a (i32.const 40))
        (loop $outer
          (local.set $b (i32.const 40))
          (loop $inner
            (local.set $c (i32.const 40))
            (loop $innermost
              (local.set $x
                (i32.xor
                  (i32.add (i32.rotl (local.get $x) (i32.const 1)) (local.get $c))
                  (local.get $n)))
              (br_if $innermost
                (local.tee $c (i32.sub (local.get $c) (i32.const 1)))))
            (br_if $inner
              (local.tee $b (i32.sub (local.get $b) (i32.const 1)))))
          (br_if $outer
            (local.tee $a (i32.sub (local.get $a) (i32.const 1)))))
        (local.set $n (i32.sub (local.get $n) (i32.const 1)))
        (br $outermost)))
    (local.get $x)))
