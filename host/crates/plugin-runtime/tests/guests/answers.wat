;; A hook of every kind that answers what lies in its memory: the answer has the number of the monotonic clock. The test
;; fills in the places in `@`, and the answers behind them (tests/runtime/hooks/answers.rs). Numbers from 1000 on are misdeeds.

(global $heap (mut i32) (i32.const @HEAP@))

(func $alloc (export "cabi_realloc") (param $old i32) (param $old_size i32) (param $align i32) (param $size i32) (result i32)
  (local $at i32)
  (local.set $at (i32.and (i32.add (global.get $heap) (i32.const 15)) (i32.const -16)))
  (global.set $heap (i32.add (local.get $at) (local.get $size)))
  (block $fits
    (br_if $fits (i32.le_u (global.get $heap) (i32.mul (memory.size) (i32.const 65536))))
    (br_if $fits (i32.ne (i32.const -1)
      (memory.grow (i32.add (i32.shr_u (local.get $size) (i32.const 16)) (i32.const 1)))))
    (unreachable))
  (local.get $at))

(func $forget (param i32) (global.set $heap (i32.const @HEAP@)))

(global $calls (mut i64) (i64.const 0))

(func $answer (param $table i32) (param $number i64) (result i32)
  (global.set $calls (i64.add (global.get $calls) (i64.const 1)))
  (if (i64.eq (local.get $number) (i64.const 1000)) (then (unreachable)))
  (if (i64.eq (local.get $number) (i64.const 1001)) (then (loop $ever (br $ever))))
  (if (i64.eq (local.get $number) (i64.const 1002)) (then
    (loop $more (br_if $more (i32.ne (i32.const -1) (memory.grow (i32.const 16)))))
    (unreachable)))
  ;; The first answer, but only to the first call of an instance.
  (if (i64.eq (local.get $number) (i64.const 1003)) (then
    (if (i64.ne (global.get $calls) (i64.const 1)) (then (unreachable)))
    (local.set $number (i64.const 0))))
  (i32.load (i32.add (local.get $table) (i32.mul (i32.wrap_i64 (local.get $number)) (i32.const 4)))))

;; Their parameters are too many for a stack and lie in memory, the clock first.
(func (export "jackfield:router/router@0.1.0#route") (param $given i32) (result i32)
  (call $answer (i32.const @ROUTE@) (i64.load (local.get $given))))
(func (export "jackfield:treatment/wait-treatment@0.1.0#next") (param $given i32) (result i32)
  (call $answer (i32.const @NEXT@) (i64.load (local.get $given))))
(func (export "jackfield:observer/observer@0.1.0#step") (param $monotonic i64) (param i64) (param i32) (param i32) (result i32)
  (call $answer (i32.const @STEP@) (local.get $monotonic)))

(func $init (param i32 i32 i32 i32 i32 i32) (result i32) (i32.const @WISHES@))
(export "jackfield:router/router@0.1.0#init" (func $init))
(export "jackfield:treatment/wait-treatment@0.1.0#init" (func $init))
(export "jackfield:observer/observer@0.1.0#init" (func $init))
(export "cabi_post_jackfield:router/router@0.1.0#route" (func $forget))
(export "cabi_post_jackfield:treatment/wait-treatment@0.1.0#next" (func $forget))
(export "cabi_post_jackfield:observer/observer@0.1.0#step" (func $forget))
(export "cabi_post_jackfield:router/router@0.1.0#init" (func $forget))
(export "cabi_post_jackfield:treatment/wait-treatment@0.1.0#init" (func $forget))
(export "cabi_post_jackfield:observer/observer@0.1.0#init" (func $forget))
