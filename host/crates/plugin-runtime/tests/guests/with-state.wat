;; Exports the guest's `$snapshot`.
(export "jackfield:connector/state@0.1.0#snapshot" (func $snapshot))
