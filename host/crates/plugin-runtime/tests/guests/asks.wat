;; Asks crm.example.org at each command, with the command's id, and says "error" or "answer" when it hears.
(data (i32.const 80) "GET")
(data (i32.const 96) "https://crm.example.org/")
(data (i32.const 128) "error")
(data (i32.const 144) "answer")
(func (export "jackfield:connector/connector@0.1.0#step") (param $monotonic i64) (param $wall i64) (param $inputs i32) (param $count i32) (result i32)
  (local $end i32) (local $at i32)
  (local.set $end (i32.add (local.get $inputs) (i32.mul (local.get $count) (i32.const 64))))
  (loop $next
    (if (i32.lt_u (local.get $inputs) (local.get $end)) (then
      (if (i32.eq (i32.load8_u (local.get $inputs)) (i32.const 6)) (then
        (local.set $at (call $action (i32.const 8)))
        (i64.store (local.get $at) (i64.load offset=8 (local.get $inputs)))
        (call $text (i32.add (local.get $at) (i32.const 8)) (i32.const 80) (i32.const 3))
        (call $text (i32.add (local.get $at) (i32.const 16)) (i32.const 96) (i32.const 24))))
      (if (i32.eq (i32.load8_u (local.get $inputs)) (i32.const 7)) (then
        (if (i32.load16_u offset=16 (local.get $inputs))
          (then (call $say (i32.const 144) (i32.const 6)))
          (else (call $say (i32.const 128) (i32.const 5))))))
      (local.set $inputs (i32.add (local.get $inputs) (i32.const 64)))
      (br $next))))
  (call $ok))
