;; Consumes a byte more than it was given.
(func (export "jackfield:connector/connector@0.1.0#step") (param $monotonic i64) (param $wall i64) (param $inputs i32) (param $count i32) (result i32)
  (local $end i32)
  (local.set $end (i32.add (local.get $inputs) (i32.mul (local.get $count) (i32.const 64))))
  (loop $next
    (if (i32.lt_u (local.get $inputs) (local.get $end)) (then
      (if (i32.eq (i32.load8_u (local.get $inputs)) (i32.const 1)) (then
        (call $consumed (i32.load offset=8 (local.get $inputs)) (i32.load offset=12 (local.get $inputs))
          (i64.add (i64.load offset=24 (local.get $inputs))
            (i64.extend_i32_u (i32.add (i32.load offset=36 (local.get $inputs)) (i32.const 1)))))))
      (local.set $inputs (i32.add (local.get $inputs) (i32.const 64)))
      (br $next))))
  (call $ok))
