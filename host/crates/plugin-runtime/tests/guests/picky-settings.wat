;; Finds one problem in any settings, all of it "oops".
(func (export "jackfield:settings/settings@0.1.0#validate") (param i32 i32) (result i32)
  (call $text (i32.const 4096) (i32.const 64) (i32.const 4))
  (call $text (i32.const 4104) (i32.const 64) (i32.const 4))
  (call $text (i32.const 4112) (i32.const 64) (i32.const 4))
  (call $text (i32.const 32) (i32.const 4096) (i32.const 1))
  (i32.const 32))
