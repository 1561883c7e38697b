;; Consumes lines. One that begins with N tells the number of leg 1: what follows. Any other is said.
;; A T anywhere in the bytes it is given traps. Its state at 3000: the last line, if it has at most 60
;; bytes, and spaces. A command says that, and ends as done; one whose kind begins with t traps.
(data (i32.const 80) "done")
(data (i32.const 96) "leg 1")
(data (i32.const 3000) "                                                            ")

(func (export "jackfield:connector/connector@0.1.0#step") (param $monotonic i64) (param $wall i64) (param $inputs i32) (param $count i32) (result i32)
  (local $end i32) (local $case i32)
  (local.set $end (i32.add (local.get $inputs) (i32.mul (local.get $count) (i32.const 64))))
  (loop $next
    (if (i32.lt_u (local.get $inputs) (local.get $end)) (then
      (local.set $case (i32.load8_u (local.get $inputs)))
      (if (i32.eq (local.get $case) (i32.const 1)) (then (call $bytes (local.get $inputs))))
      (if (i32.eq (local.get $case) (i32.const 6)) (then
        (if (i32.eq (i32.load8_u (i32.load offset=16 (local.get $inputs))) (i32.const 116))
          (then (unreachable)))
        (call $say (i32.const 3000) (i32.const 60))
        (call $outcome (i64.load offset=8 (local.get $inputs)) (i32.const 80) (i32.const 4))))
      (local.set $inputs (i32.add (local.get $inputs) (i32.const 64)))
      (br $next))))
  (call $ok))

(func $bytes (param $at i32)
  (local $data i32) (local $length i32) (local $i i32) (local $start i32) (local $byte i32)
  (local.set $data (i32.load offset=32 (local.get $at)))
  (local.set $length (i32.load offset=36 (local.get $at)))
  (loop $next
    (if (i32.lt_u (local.get $i) (local.get $length)) (then
      (local.set $byte (i32.load8_u (i32.add (local.get $data) (local.get $i))))
      (if (i32.eq (local.get $byte) (i32.const 84)) (then (unreachable)))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (if (i32.eq (local.get $byte) (i32.const 10)) (then
        (call $line (i32.add (local.get $data) (local.get $start))
          (i32.sub (i32.sub (local.get $i) (local.get $start)) (i32.const 1)))
        (local.set $start (local.get $i))))
      (br $next))))
  (call $consumed (i32.load offset=8 (local.get $at)) (i32.load offset=12 (local.get $at))
    (i64.add (i64.load offset=24 (local.get $at)) (i64.extend_i32_u (local.get $start)))))

(func $line (param $text i32) (param $length i32)
  (local $at i32)
  (if (i32.le_u (local.get $length) (i32.const 60)) (then
    (memory.fill (i32.const 3000) (i32.const 32) (i32.const 60))
    (memory.copy (i32.const 3000) (local.get $text) (local.get $length))))
  (if (i32.and (i32.ne (local.get $length) (i32.const 0))
      (i32.eq (i32.load8_u (local.get $text)) (i32.const 78)))
    (then
      ;; The fact `leg-party`.
      (local.set $at (call $action (i32.const 2)))
      (i32.store8 offset=16 (local.get $at) (i32.const 3))
      (call $text (i32.add (local.get $at) (i32.const 24)) (i32.const 96) (i32.const 5))
      (call $text (i32.add (local.get $at) (i32.const 32))
        (i32.add (local.get $text) (i32.const 1)) (i32.sub (local.get $length) (i32.const 1))))
    (else (call $say (local.get $text) (local.get $length)))))

(func (export "jackfield:connector/connector@0.1.0#init")
  (param i32 i32 i32 i32 i32 i32 i32 i32) (param $some i32) (param i32 i32 i32) (param $data i32) (param $length i32)
  (param i64 i64) (result i32)
  (if (local.get $some) (then (memory.copy (i32.const 3000) (local.get $data) (i32.const 60))))
  (call $ok))

(func $snapshot (result i32)
  (i32.store8 (i32.const 16) (i32.const 0))
  (call $text (i32.const 20) (i32.const 80) (i32.const 4))
  (i32.store (i32.const 28) (i32.const 1))
  (call $text (i32.const 32) (i32.const 3000) (i32.const 60))
  (i32.const 16))
