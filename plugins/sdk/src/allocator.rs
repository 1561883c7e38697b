//! The allocator of plugins: what was freed is at hand for the next of its size.
//!
//! The host hands strings and lists over one by one. Each is an allocation inside the plugin, freed when the call is
//! over, and the next call has the same ones again. So freed small blocks are kept by their size, a bounded number of each;
//! everything else is done by the allocator beneath, the one Rust brings along (dlmalloc), which merges what it gets back.
//! An instance that lives for a year keeps no more than 512 KiB of them.
//!
//! It knows one thread, so it is there only for WebAssembly without threads.

use std::{
    alloc::{GlobalAlloc, Layout},
    cell::UnsafeCell,
    ptr,
};

/// Sizes are rounded up to multiples of it, so that a block's size tells its list.
const STEP: usize = 16;
/// Larger blocks are not kept.
const LARGEST: usize = 1024;
/// Blocks aligned more strictly are not kept; what is beneath gives this to every block.
const ALIGN: usize = 8;
/// Bytes kept of one size.
const KEPT: usize = 8 << 10;
const LISTS: usize = LARGEST / STEP;
/// Bytes kept of all sizes.
#[cfg(test)]
const MOST_KEPT: usize = KEPT * LISTS;

#[cfg(all(target_arch = "wasm32", not(target_feature = "atomics"), feature = "allocator"))]
#[global_allocator]
static ALLOCATOR: Allocator<std::alloc::System> = Allocator::over(std::alloc::System);

/// Freed blocks over an allocator that gives and takes them.
pub(crate) struct Allocator<A> {
    beneath: A,
    lists: UnsafeCell<[List; LISTS]>,
}

/// Freed blocks of one size; each holds the address of the next.
#[derive(Clone, Copy)]
struct List {
    first: *mut *mut u8,
    /// How many more are kept.
    room: usize,
}

#[expect(unsafe_code, reason = "a static must be shareable")]
// SAFETY: the only static is above, where there is one thread.
unsafe impl<A> Sync for Allocator<A> {}

#[expect(unsafe_code, reason = "blocks are raw memory")]
impl<A> Allocator<A> {
    pub(crate) const fn over(beneath: A) -> Self {
        let mut lists = [List { first: ptr::null_mut(), room: 0 }; LISTS];
        let mut at = 0;
        while at < LISTS {
            lists[at].room = KEPT / size(at);
            at += 1;
        }
        Self { beneath, lists: UnsafeCell::new(lists) }
    }

    /// A freed block of the list, if there is one.
    #[inline]
    fn take(&self, list: usize) -> Option<*mut u8> {
        // SAFETY: one thread, and the borrow ends in here. A block of the list is free, large enough for an address, and
        // holds that of the next since `keep` wrote it.
        unsafe {
            let list = &mut (&mut *self.lists.get())[list];
            let block = list.first;
            if block.is_null() {
                return None;
            }
            list.first = (*block).cast();
            list.room += 1;
            Some(block.cast())
        }
    }

    /// Keeps a free block of the list's size; says no when enough are kept.
    #[inline]
    fn keep(&self, list: usize, block: *mut u8) -> bool {
        // SAFETY: one thread, and the borrow ends in here. The block is free, so its bytes are ours; it has room for an
        // address and is aligned for one, as all blocks that `block` describes.
        unsafe {
            let list = &mut (&mut *self.lists.get())[list];
            if list.room == 0 {
                return false;
            }
            list.room -= 1;
            let block: *mut *mut u8 = block.cast();
            block.write(list.first.cast());
            list.first = block;
            true
        }
    }
}

#[expect(unsafe_code, reason = "an allocator's contract is unsafe")]
// SAFETY: a block comes from beneath, with the layout that `block` says or, without a list, with the one asked for; the
// same layout names the same list when it goes back. It is in a list only from its being freed to its being given out.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Allocator<A> {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: what `block` says has a size; else the caller's own promises.
        let beneath = |layout| unsafe { self.beneath.alloc(layout) };
        match list_of(layout) {
            Some(list) => self.take(list).unwrap_or_else(|| beneath(block(list))),
            None => beneath(layout),
        }
    }

    #[inline]
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises, and the layout that `alloc` passed on for this one.
        let beneath = |layout| unsafe { self.beneath.dealloc(pointer, layout) };
        match list_of(layout) {
            Some(list) if self.keep(list, pointer) => {}
            Some(list) => beneath(block(list)),
            None => beneath(layout),
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if list_of(layout).is_none() {
            // SAFETY: the caller's own promises.
            return unsafe { self.beneath.alloc_zeroed(layout) };
        }
        // SAFETY: the caller's own promises.
        let pointer = unsafe { self.alloc(layout) };
        if !pointer.is_null() {
            // SAFETY: it was given out with at least this size.
            unsafe { pointer.write_bytes(0, layout.size()) };
        }
        pointer
    }

    #[inline]
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller promises that they make a layout.
        let new = unsafe { Layout::from_size_align_unchecked(new_size, layout.align()) };
        match (list_of(layout), list_of(new)) {
            (Some(old), Some(new)) if old == new => return pointer,
            // SAFETY: both are beneath's own; the caller's promises.
            (None, None) => return unsafe { self.beneath.realloc(pointer, layout, new_size) },
            _ => {}
        }
        // SAFETY: the caller's promises.
        let moved = unsafe { self.alloc(new) };
        if !moved.is_null() {
            // SAFETY: two blocks, both at least as long as what is copied; the old one is not used any more.
            unsafe {
                ptr::copy_nonoverlapping(pointer, moved, layout.size().min(new_size));
                self.dealloc(pointer, layout);
            }
        }
        moved
    }
}

/// The list of blocks for this layout; none for those that are not kept.
#[inline]
fn list_of(layout: Layout) -> Option<usize> {
    // Nobody may ask for no bytes; should it happen, it wraps and goes beneath.
    let list = layout.size().wrapping_sub(1) / STEP;
    (list < LISTS && layout.align() <= ALIGN).then_some(list)
}

/// The size of all blocks of a list.
const fn size(list: usize) -> usize {
    (list + 1) * STEP
}

/// What is asked for beneath for each block of a list.
#[inline]
fn block(list: usize) -> Layout {
    Layout::from_size_align(size(list), ALIGN).expect("a small size and a power of two")
}

#[cfg(test)]
#[expect(unsafe_code, reason = "an allocator is called by unsafe functions")]
mod tests {
    use std::{
        alloc::System,
        cell::{Cell, RefCell},
        collections::{BTreeMap, VecDeque},
    };

    use super::*;

    /// Remembers what it gave, and panics when something else comes back.
    #[derive(Default)]
    struct Beneath {
        given: RefCell<BTreeMap<usize, Layout>>,
        bytes: Cell<usize>,
        is_full: Cell<bool>,
    }

    impl Beneath {
        fn give(&self, pointer: *mut u8, layout: Layout) -> *mut u8 {
            self.bytes.set(self.bytes.get() + layout.size());
            assert!(self.given.borrow_mut().insert(pointer.addr(), layout).is_none());
            pointer
        }

        fn take_back(&self, pointer: *mut u8, layout: Layout) {
            assert_eq!(self.given.borrow_mut().remove(&pointer.addr()), Some(layout));
            self.bytes.set(self.bytes.get() - layout.size());
        }
    }

    // SAFETY: all blocks are those of the system.
    unsafe impl GlobalAlloc for Beneath {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            if self.is_full.get() {
                return ptr::null_mut();
            }
            self.give(unsafe { System.alloc(layout) }, layout)
        }

        unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
            self.take_back(pointer, layout);
            unsafe { System.dealloc(pointer, layout) }
        }
    }

    /// A block in use, filled with a byte of its own.
    struct Block {
        pointer: *mut u8,
        layout: Layout,
        filled: u8,
    }

    impl Block {
        fn of(pointer: *mut u8, layout: Layout, filled: u8) -> Self {
            assert!(!pointer.is_null());
            assert_eq!(pointer.addr() % layout.align(), 0, "{layout:?}");
            unsafe { pointer.write_bytes(filled, layout.size()) };
            Self { pointer, layout, filled }
        }

        fn check(&self, count: usize) {
            let bytes = unsafe { std::slice::from_raw_parts(self.pointer, count) };
            assert!(bytes.iter().all(|&byte| byte == self.filled), "{:?}", self.layout);
        }
    }

    /// Numbers that look random, the same at each run.
    struct Dice(u64);

    impl Dice {
        fn below(&mut self, end: usize) -> usize {
            // Marsaglia's xorshift64.
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 % end as u64) as usize
        }

        /// Mostly small ones, often at the edge of two lists or of what is kept.
        fn size(&mut self) -> usize {
            let size = match self.below(8) {
                0 => LARGEST - 2 + self.below(5),
                1 => 1 + self.below(4 * LARGEST),
                2 => STEP * (1 + self.below(LISTS)),
                3 => STEP * (1 + self.below(LISTS)) + 1,
                _ => 1 + self.below(64),
            };
            size.max(1)
        }

        fn layout(&mut self) -> Layout {
            let align = [1, 1, 1, 2, 4, 8, 16, 64][self.below(8)];
            Layout::from_size_align(self.size(), align).unwrap()
        }
    }

    fn layout(size: usize) -> Layout {
        Layout::from_size_align(size, 1).unwrap()
    }

    fn release(allocator: &Allocator<Beneath>) {
        for list in 0..LISTS {
            while let Some(pointer) = allocator.take(list) {
                unsafe { allocator.beneath.dealloc(pointer, block(list)) };
            }
        }
    }

    #[test]
    fn whatever_comes_blocks_do_not_overlap_are_aligned_and_keep_their_bytes() {
        for seed in 1..=20 {
            let (allocator, mut dice) = (Allocator::over(Beneath::default()), Dice(seed));
            let mut blocks: Vec<Block> = Vec::new();
            for turn in 0..4000_u32 {
                let filled = turn as u8;
                match dice.below(5) {
                    0 | 1 if blocks.len() < 200 => {
                        let layout = dice.layout();
                        blocks.push(Block::of(unsafe { allocator.alloc(layout) }, layout, filled));
                    }
                    2 if blocks.len() < 200 => {
                        let layout = dice.layout();
                        let pointer = unsafe { allocator.alloc_zeroed(layout) };
                        Block { pointer, layout, filled: 0 }.check(layout.size());
                        blocks.push(Block::of(pointer, layout, filled));
                    }
                    3 if !blocks.is_empty() => {
                        let mut block = blocks.swap_remove(dice.below(blocks.len()));
                        let (old, size) = (block.layout, dice.size());
                        block.pointer = unsafe { allocator.realloc(block.pointer, old, size) };
                        block.layout = Layout::from_size_align(size, old.align()).unwrap();
                        block.check(old.size().min(size));
                        blocks.push(Block::of(block.pointer, block.layout, filled));
                    }
                    _ if !blocks.is_empty() => {
                        let block = blocks.swap_remove(dice.below(blocks.len()));
                        block.check(block.layout.size());
                        unsafe { allocator.dealloc(block.pointer, block.layout) };
                    }
                    _ => {}
                }
            }
            for block in blocks {
                block.check(block.layout.size());
                unsafe { allocator.dealloc(block.pointer, block.layout) };
            }
            assert!(allocator.beneath.bytes.get() <= MOST_KEPT, "seed {seed}");
            release(&allocator);
            assert_eq!(allocator.beneath.bytes.get(), 0, "seed {seed}");
        }
    }

    #[test]
    fn what_was_freed_is_the_next_of_its_size() {
        let allocator = Allocator::over(Beneath::default());
        let [one, other] = [40, 41].map(|size| unsafe { allocator.alloc(layout(size)) });
        unsafe { allocator.dealloc(one, layout(40)) };
        unsafe { allocator.dealloc(other, layout(41)) };
        assert_eq!(unsafe { allocator.alloc(layout(48)) }, other);
        assert_eq!(unsafe { allocator.alloc(layout(33)) }, one);
        assert_eq!(allocator.beneath.given.borrow().len(), 2);
        for pointer in [one, other] {
            unsafe { allocator.dealloc(pointer, layout(48)) };
        }
        release(&allocator);
    }

    #[test]
    fn after_a_flood_of_every_size_only_so_much_is_kept() {
        let allocator = Allocator::over(Beneath::default());
        let mut most = 0;
        for size in (1..=2 * LARGEST).step_by(7) {
            let flood: Vec<_> =
                (0..1000).map(|_| unsafe { allocator.alloc(layout(size)) }).collect();
            most = most.max(allocator.beneath.bytes.get());
            for pointer in flood {
                unsafe { allocator.dealloc(pointer, layout(size)) };
            }
            assert!(allocator.beneath.bytes.get() <= MOST_KEPT, "{size}");
        }
        assert!(most > MOST_KEPT);
        release(&allocator);
    }

    #[test]
    fn a_day_of_calls_takes_no_more_than_the_first_of_them() {
        let allocator = Allocator::over(Beneath::default());
        // Seventeen kinds of calls, each with strings of its own lengths; ten calls at a time.
        let strings = |call: usize| (0..20).map(move |at| layout(1 + (call % 17 + 1) * at * 9));
        let mut going_on = VecDeque::new();
        let (mut first, mut most) = (0, 0);
        for call in 0..50_000 {
            for layout in strings(call) {
                going_on.push_back((unsafe { allocator.alloc(layout) }, layout));
            }
            if call >= 10 {
                for (pointer, layout) in going_on.drain(..20) {
                    unsafe { allocator.dealloc(pointer, layout) };
                }
            }
            let taken = allocator.beneath.bytes.get();
            let so_far = if call < 100 { &mut first } else { &mut most };
            *so_far = taken.max(*so_far);
        }
        assert!(most <= first, "{first}, then {most}");
        for (pointer, layout) in going_on {
            unsafe { allocator.dealloc(pointer, layout) };
        }
        release(&allocator);
    }

    #[test]
    fn when_there_is_no_more_memory_the_old_block_stays_as_it_was() {
        let allocator = Allocator::over(Beneath::default());
        let block = Block::of(unsafe { allocator.alloc(layout(100)) }, layout(100), 7);
        allocator.beneath.is_full.set(true);
        for size in [10, 500, 5000] {
            assert!(unsafe { allocator.realloc(block.pointer, block.layout, size) }.is_null());
            assert!(unsafe { allocator.alloc_zeroed(layout(size)) }.is_null());
        }
        block.check(100);
        // What is kept needs nobody.
        unsafe { allocator.dealloc(block.pointer, block.layout) };
        assert_eq!(unsafe { allocator.alloc(layout(100)) }, block.pointer);
        unsafe { allocator.dealloc(block.pointer, block.layout) };
        release(&allocator);
    }
}
