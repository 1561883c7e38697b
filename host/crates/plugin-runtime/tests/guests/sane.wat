;; The whim of a `lines` without any whim.
(func $whim (result i32) (i32.const 0))
