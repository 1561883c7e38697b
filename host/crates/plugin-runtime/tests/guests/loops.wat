;; Never comes back.
(func (export "jackfield:connector/connector@0.1.0#step") (param $monotonic i64) (param $wall i64) (param $inputs i32) (param $count i32) (result i32)
  (loop $for_ever (br $for_ever))
  (unreachable))
