;; The whim of a `lines` that does not see lines beginning with b.
(func $whim (result i32) (i32.const 4))
