;; Consumes lines and says each; traps on an X anywhere in the bytes it is given, loops on a Z.
;; After a gap it is silent until the next line of that link begins. Its state at 3000: that silence for
;; links that begin with c, that for others, a count of steps.
;; Commands by the first letter of their kind: d ends as done, e as "oops", t traps, w ends twice,
;; s sends for connection 1, c closes the link, l sends a secret in the clear, b begins resync 7 and says
;; an item of resync 8, h asks for a wake-up at 5 s, z traps when it wakes up, n does nothing, o opens
;; resync 7, i says an item of it, f finishes it, a ends command 1 as done.
;; A line "-x" ends the leg x. A gap of no bytes, and new settings, make it say "look".
;; Put behind it a `lines-...` that is its state, and a whim: what one version does in another way.
(data (i32.const 80) "done")
(data (i32.const 96) "ami")
(data (i32.const 112) "md5-hex")
(data (i32.const 128) "plain")
(data (i32.const 144) "wake")
(data (i32.const 160) "look")
(global $whims (mut i32) (i32.const 0))
(global $sleepless (mut i32) (i32.const 0))

(func (export "jackfield:connector/connector@0.1.0#step") (param $monotonic i64) (param $wall i64) (param $inputs i32) (param $count i32) (result i32)
  (local $end i32)
  (i32.store (i32.const 3008) (i32.add (i32.load (i32.const 3008)) (i32.const 1)))
  (global.set $whims (call $whim))
  (local.set $end (i32.add (local.get $inputs) (i32.mul (local.get $count) (i32.const 64))))
  (loop $next
    (if (i32.lt_u (local.get $inputs) (local.get $end)) (then
      (call $input (local.get $inputs))
      (local.set $inputs (i32.add (local.get $inputs) (i32.const 64)))
      (br $next))))
  (call $ok))

;; Where the silence of the link is kept that this input is about.
(func $silence (param $input i32) (result i32)
  (i32.add (i32.const 3000)
    (i32.shl (i32.ne (i32.const 99) (i32.load8_u (i32.load offset=8 (local.get $input)))) (i32.const 2))))

(func $input (param $at i32)
  (local $case i32)
  (local.set $case (i32.load8_u (local.get $at)))
  (if (i32.eqz (local.get $case)) (then (i32.store (call $silence (local.get $at)) (i32.const 0))))
  (if (i32.eq (local.get $case) (i32.const 1)) (then (call $bytes (local.get $at))))
  (if (i32.eq (local.get $case) (i32.const 4)) (then
    (if (i64.eqz (i64.load offset=32 (local.get $at)))
      (then (call $say (i32.const 160) (i32.const 4)))
      (else (i32.store (call $silence (local.get $at)) (i32.const 1))))))
  (if (i32.eq (local.get $case) (i32.const 8)) (then (call $say (i32.const 160) (i32.const 4))))
  (if (i32.eq (local.get $case) (i32.const 5)) (then
    (if (global.get $sleepless) (then (unreachable)))
    (call $say (i32.const 144) (i32.const 4))))
  (if (i32.and (i32.eq (local.get $case) (i32.const 6)) (i32.eqz (i32.and (global.get $whims) (i32.const 1)))) (then
    (call $command (i64.load offset=8 (local.get $at)) (i32.load8_u (i32.load offset=16 (local.get $at)))))))

(func $bytes (param $at i32)
  (local $data i32) (local $length i32) (local $i i32) (local $start i32) (local $byte i32)
  (local.set $data (i32.load offset=32 (local.get $at)))
  (local.set $length (i32.load offset=36 (local.get $at)))
  (loop $next
    (if (i32.lt_u (local.get $i) (local.get $length)) (then
      (local.set $byte (i32.load8_u (i32.add (local.get $data) (local.get $i))))
      (if (i32.eq (local.get $byte) (i32.const 88)) (then (unreachable)))
      (if (i32.eq (local.get $byte) (i32.const 90)) (then (loop $for_ever (br $for_ever))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (if (i32.and (i32.eq (local.get $byte) (i32.const 10)) (i32.eqz (i32.and (global.get $whims) (i32.const 8)))) (then
        (if (i32.load (call $silence (local.get $at)))
          (then (i32.store (call $silence (local.get $at)) (i32.const 0)))
          (else (call $line (i32.add (local.get $data) (local.get $start))
            (i32.sub (i32.sub (local.get $i) (local.get $start)) (i32.const 1)))))
        (local.set $start (local.get $i))))
      (br $next))))
  (call $consumed (i32.load offset=8 (local.get $at)) (i32.load offset=12 (local.get $at))
    (i64.add (i64.load offset=24 (local.get $at)) (i64.extend_i32_u (local.get $start)))))

(func $line (param $text i32) (param $length i32)
  (if (i32.and (i32.eq (i32.load8_u (local.get $text)) (i32.const 98))
    (i32.ne (i32.and (global.get $whims) (i32.const 4)) (i32.const 0))) (then (return)))
  (if (i32.ne (i32.load8_u (local.get $text)) (i32.const 45)) (then
    (call $say (local.get $text) (local.get $length))
    (return)))
  (call $ended (i32.add (local.get $text) (i32.const 1)) (i32.sub (local.get $length) (i32.const 1)))
  (if (i32.and (global.get $whims) (i32.const 2)) (then
    (call $ended (i32.add (local.get $text) (i32.const 1)) (i32.sub (local.get $length) (i32.const 1))))))

;; The fact `leg-ended`.
(func $ended (param $leg i32) (param $length i32)
  (local $at i32)
  (local.set $at (call $action (i32.const 2)))
  (i32.store8 offset=16 (local.get $at) (i32.const 5))
  (call $text (i32.add (local.get $at) (i32.const 24)) (local.get $leg) (local.get $length)))

(func $command (param $id i64) (param $letter i32)
  (local $at i32)
  (if (i32.or (i32.eq (local.get $letter) (i32.const 100)) (i32.eq (local.get $letter) (i32.const 119))) (then
    (call $outcome (local.get $id) (i32.const 80) (i32.const 4))))
  (if (i32.eq (local.get $letter) (i32.const 119)) (then
    (call $outcome (local.get $id) (i32.const 80) (i32.const 4))))
  (if (i32.eq (local.get $letter) (i32.const 101)) (then
    (call $outcome (local.get $id) (i32.const 64) (i32.const 4))))
  (if (i32.eq (local.get $letter) (i32.const 116)) (then (unreachable)))
  (if (i32.eq (local.get $letter) (i32.const 115)) (then (call $send (i32.const 112) (i32.const 7))))
  (if (i32.eq (local.get $letter) (i32.const 108)) (then (call $send (i32.const 128) (i32.const 5))))
  (if (i32.eq (local.get $letter) (i32.const 99)) (then
    (local.set $at (call $action (i32.const 9)))
    (call $text (local.get $at) (i32.const 96) (i32.const 3))))
  (if (i32.eq (local.get $letter) (i32.const 98)) (then
    (i64.store (call $action (i32.const 4)) (i64.const 7))
    (local.set $at (call $action (i32.const 5)))
    (i64.store (local.get $at) (i64.const 8))
    (i32.store8 offset=8 (local.get $at) (i32.const 18))
    (i64.store (call $action (i32.const 6)) (i64.const 7))))
  (if (i32.eq (local.get $letter) (i32.const 111)) (then (i64.store (call $action (i32.const 4)) (i64.const 7))))
  (if (i32.eq (local.get $letter) (i32.const 105)) (then
    (local.set $at (call $action (i32.const 5)))
    (i64.store (local.get $at) (i64.const 7))
    (i32.store8 offset=8 (local.get $at) (i32.const 18))))
  (if (i32.eq (local.get $letter) (i32.const 102)) (then (i64.store (call $action (i32.const 6)) (i64.const 7))))
  (if (i32.eq (local.get $letter) (i32.const 97)) (then (call $outcome (i64.const 1) (i32.const 80) (i32.const 4))))
  (if (i32.or (i32.eq (local.get $letter) (i32.const 104)) (i32.eq (local.get $letter) (i32.const 122))) (then
    (call $wake_at (i64.const 5000000000))))
  (if (i32.eq (local.get $letter) (i32.const 122)) (then (global.set $sleepless (i32.const 1)))))

;; `oops` and the secret `ami` in that form, for connection 1. Parts at 1024: 36 bytes each.
(func $send (param $form i32) (param $form_length i32)
  (local $at i32)
  (local.set $at (call $action (i32.const 1)))
  (call $text (local.get $at) (i32.const 96) (i32.const 3))
  (i64.store offset=8 (local.get $at) (i64.const 1))
  (call $text (i32.add (local.get $at) (i32.const 20)) (i32.const 1024) (i32.const 2))
  (memory.fill (i32.const 1024) (i32.const 0) (i32.const 72))
  (call $text (i32.const 1028) (i32.const 64) (i32.const 4))
  (i32.store8 (i32.const 1060) (i32.const 1))
  (call $text (i32.const 1064) (i32.const 96) (i32.const 3))
  (call $text (i32.const 1072) (local.get $form) (local.get $form_length)))
