;; A state of `lines` that takes any and claims to give 1 GiB.
(func (export "jackfield:connector/connector@0.1.0#init")
  (param i32 i32 i32 i32 i32 i32 i32 i32) (param $some i32) (param i32 i32 i32 i32 i32 i64 i64) (result i32)
  (call $ok))

(func $snapshot (result i32)
  (i32.store8 (i32.const 16) (i32.const 0))
  (call $text (i32.const 20) (i32.const 80) (i32.const 4))
  (call $text (i32.const 32) (i32.const 0) (i32.const 1073741824))
  (i32.const 16))
