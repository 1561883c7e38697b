;; Put behind every guest here: memory, allocation, and helpers that build the answer of `step`.
;; Sizes and offsets are those of the canonical ABI for wit/connector: an input has 64 bytes,
;; an action 144 with its payload at 8, a `result<list<action>, error>` its payload at 4.
;;
;; Memory: 16 result, 64.. constants, 65536.. actions, 196608.. what the host hands over.

(memory (export "memory") 8)
(data (i32.const 64) "oops")
(global $heap (mut i32) (i32.const 196608))
(global $actions (mut i32) (i32.const 0))

(func $alloc (export "cabi_realloc") (param $old i32) (param $old_size i32) (param $align i32) (param $size i32) (result i32)
  (local $at i32)
  (local.set $at (i32.and (i32.add (global.get $heap) (i32.const 7)) (i32.const -8)))
  (global.set $heap (i32.add (local.get $at) (local.get $size)))
  (block $fits
    (br_if $fits (i32.le_u (global.get $heap) (i32.mul (memory.size) (i32.const 65536))))
    (br_if $fits (i32.ne (i32.const -1)
      (memory.grow (i32.add (i32.shr_u (local.get $size) (i32.const 16)) (i32.const 1)))))
    (unreachable))
  (local.get $at))

(func $forget (param i32) (global.set $heap (i32.const 196608)) (global.set $actions (i32.const 0)))
(export "cabi_post_jackfield:connector/connector@0.1.0#init" (func $forget))
(export "cabi_post_jackfield:connector/connector@0.1.0#step" (func $forget))

;; A new action of that case; its payload.
(func $action (param $case i32) (result i32)
  (local $at i32)
  (local.set $at (i32.add (i32.const 65536) (i32.mul (global.get $actions) (i32.const 144))))
  (if (i32.ge_u (global.get $actions) (i32.const 900)) (then (unreachable)))
  (memory.fill (local.get $at) (i32.const 0) (i32.const 144))
  (i32.store8 (local.get $at) (local.get $case))
  (global.set $actions (i32.add (global.get $actions) (i32.const 1)))
  (i32.add (local.get $at) (i32.const 8)))

(func $text (param $to i32) (param $text i32) (param $length i32)
  (i32.store (local.get $to) (local.get $text))
  (i32.store offset=4 (local.get $to) (local.get $length)))

(func $consumed (param $link i32) (param $link_length i32) (param $offset i64)
  (local $at i32)
  (local.set $at (call $action (i32.const 0)))
  (call $text (local.get $at) (local.get $link) (local.get $link_length))
  (i64.store offset=8 (local.get $at) (local.get $offset)))

;; The fact `extension-removed`, because it is a single string.
(func $say (param $text i32) (param $length i32)
  (local $at i32)
  (local.set $at (call $action (i32.const 2)))
  (i32.store8 offset=16 (local.get $at) (i32.const 21))
  (call $text (i32.add (local.get $at) (i32.const 24)) (local.get $text) (local.get $length)))

(func $wake_at (param $at i64) (i64.store (call $action (i32.const 7)) (local.get $at)))

;; An outcome, without detail: `done` as four bytes at `word`.
(func $outcome (param $id i64) (param $word i32) (param $length i32)
  (local $at i32)
  (local.set $at (call $action (i32.const 3)))
  (i64.store (local.get $at) (local.get $id))
  (call $text (i32.add (local.get $at) (i32.const 8)) (local.get $word) (local.get $length)))

(func $ok (result i32)
  (i32.store8 (i32.const 16) (i32.const 0))
  (i32.store (i32.const 20) (i32.const 65536))
  (i32.store (i32.const 24) (global.get $actions))
  (i32.const 16))

(func $error (result i32)
  (i32.store8 (i32.const 16) (i32.const 1))
  (call $text (i32.const 20) (i32.const 64) (i32.const 4))
  (call $text (i32.const 28) (i32.const 64) (i32.const 4))
  (i32.store8 (i32.const 36) (i32.const 0))
  (i32.const 16))
