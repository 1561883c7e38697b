;; Wants to be woken twenty times.
(func (export "jackfield:connector/connector@0.1.0#step") (param $monotonic i64) (param $wall i64) (param $inputs i32) (param $count i32) (result i32)
  (local $left i32)
  (local.set $left (i32.const 20))
  (loop $again
    (call $wake_at (i64.const 1))
    (local.set $left (i32.sub (local.get $left) (i32.const 1)))
    (br_if $again (local.get $left)))
  (call $ok))
