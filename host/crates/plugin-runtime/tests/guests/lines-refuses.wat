;; A state of `lines` that takes nobody's, and gives one.
(func (export "jackfield:connector/connector@0.1.0#init")
  (param i32 i32 i32 i32 i32 i32 i32 i32) (param $some i32) (param i32 i32 i32 i32 i32 i64 i64) (result i32)
  (if (local.get $some) (then (return (call $error))))
  (call $ok))

(func $snapshot (result i32)
  (i32.store8 (i32.const 16) (i32.const 0))
  (call $text (i32.const 20) (i32.const 80) (i32.const 4))
  (i32.store (i32.const 28) (i32.const 3))
  (call $text (i32.const 32) (i32.const 3000) (i32.const 12))
  (i32.const 16))
