;; Logs three lines each step.
(import "jackfield:log/log@0.1.0" "log" (func $log (param i32 i32 i32)))
(func (export "jackfield:connector/connector@0.1.0#step") (param $monotonic i64) (param $wall i64) (param $inputs i32) (param $count i32) (result i32)
  (call $log (i32.const 2) (i32.const 64) (i32.const 4))
  (call $log (i32.const 2) (i32.const 64) (i32.const 4))
  (call $log (i32.const 2) (i32.const 64) (i32.const 4))
  (call $ok))
