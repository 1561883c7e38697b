;; The state of `lines`: gives version 1, takes version 2 as well.
(func (export "jackfield:connector/connector@0.1.0#init")
  (param i32 i32 i32 i32 i32 i32 i32 i32) (param $some i32) (param i32 i32) (param $version i32) (param $data i32) (param $length i32)
  (param i64 i64) (result i32)
  (if (i32.eqz (local.get $some)) (then (return (call $ok))))
  (if (i32.eq (local.get $version) (i32.const 1)) (then
    (memory.copy (i32.const 3000) (local.get $data) (i32.const 12))
    (return (call $ok))))
  (if (i32.ne (local.get $version) (i32.const 2)) (then (return (call $error))))
  (i32.store (i32.const 3008) (i32.load (local.get $data)))
  (i64.store (i32.const 3000) (i64.load offset=4 (local.get $data)))
  (call $ok))

(func $snapshot (result i32)
  (i32.store8 (i32.const 16) (i32.const 0))
  (call $text (i32.const 20) (i32.const 80) (i32.const 4))
  (i32.store (i32.const 28) (i32.const 1))
  (call $text (i32.const 32) (i32.const 3000) (i32.const 12))
  (i32.const 16))
