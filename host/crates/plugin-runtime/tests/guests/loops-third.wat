;; The whim of a `lines` that never comes back from the third step of an instance.
(global $steps (mut i32) (i32.const 0))
(func $whim (result i32)
  (global.set $steps (i32.add (global.get $steps) (i32.const 1)))
  (if (i32.eq (global.get $steps) (i32.const 3)) (then (loop $for_ever (br $for_ever))))
  (i32.const 0))
