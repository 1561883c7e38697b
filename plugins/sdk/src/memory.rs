//! `memcmp` for guests: what the compiler brings along goes byte by byte, and a parser compares all day.

/// Compares `count` bytes, eight at a time.
///
/// # Safety
///
/// Both pointers must be readable for `count` bytes.
#[allow(unsafe_code, reason = "the compiler calls it by this name, with pointers")]
#[cfg_attr(target_arch = "wasm32", unsafe(no_mangle))]
pub unsafe extern "C" fn memcmp(one: *const u8, other: *const u8, count: usize) -> i32 {
    // SAFETY: each load below lies within `count` bytes, and needs no alignment.
    let eight = |at: usize| unsafe {
        let (one, other) = (one.add(at).cast::<u64>(), other.add(at).cast::<u64>());
        (one.read_unaligned(), other.read_unaligned())
    };
    // SAFETY: as above.
    let four = |at: usize| unsafe {
        let (one, other) = (one.add(at).cast::<u32>(), other.add(at).cast::<u32>());
        (u64::from(one.read_unaligned()) << 32, u64::from(other.read_unaligned()) << 32)
    };
    if count >= 8 {
        let mut at = 0;
        while at + 8 <= count {
            let (one, other) = eight(at);
            if one != other {
                return order(one, other);
            }
            at += 8;
        }
        // The last eight overlap bytes that are known to be equal.
        let (one, other) = eight(count - 8);
        return order(one, other);
    }
    if count >= 4 {
        let (first, last) = (four(0), four(count - 4));
        return if first.0 == first.1 { order(last.0, last.1) } else { order(first.0, first.1) };
    }
    for at in 0..count {
        // SAFETY: `at` is less than `count`.
        let (one, other) = unsafe { (*one.add(at), *other.add(at)) };
        if one != other {
            return i32::from(one) - i32::from(other);
        }
    }
    0
}

/// How bytes compare that were loaded as a little-endian word; the first one weighs most.
fn order(one: u64, other: u64) -> i32 {
    one.swap_bytes().cmp(&other.swap_bytes()) as i32
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering;

    #[allow(unsafe_code, reason = "it takes pointers")]
    fn compare(one: &[u8], other: &[u8]) -> Ordering {
        assert_eq!(one.len(), other.len());
        // SAFETY: both have that length.
        unsafe { super::memcmp(one.as_ptr(), other.as_ptr(), one.len()) }.cmp(&0)
    }

    #[test]
    fn the_first_byte_that_differs_decides() {
        for length in 0..40 {
            let one = vec![0x80_u8; length];
            assert_eq!(compare(&one, &one), Ordering::Equal);
            for place in 0..length {
                let mut other = one.clone();
                other[place..].fill(0xff);
                other[place] = 0x7f;
                assert_eq!(compare(&one, &other), Ordering::Greater, "{place} of {length}");
                assert_eq!(compare(&other, &one), Ordering::Less, "{place} of {length}");
            }
        }
    }
}
