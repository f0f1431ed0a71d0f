//! TFRecord framing: length, its checksum, the data, their checksum; little-endian.

use crc32c::crc32c;

const HEAD: usize = 12;
const TAIL: usize = 4;

/// CRC-32C, turned and shifted, so that data which hold checksums have others.
fn masked(data: &[u8]) -> u32 {
    crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8)
}

pub fn frame(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    let mut framed = Vec::with_capacity(HEAD + data.len() + TAIL);
    framed.extend(length);
    framed.extend(masked(&length).to_le_bytes());
    framed.extend(data);
    framed.extend(masked(data).to_le_bytes());
    framed
}

/// The data of every record up to the end, or to the first that is torn or damaged.
pub fn frames(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut found = Vec::new();
    while let Some((data, rest)) = first(bytes) {
        found.push(data);
        bytes = rest;
    }
    found
}

fn first(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<8>()?;
    let (check, rest) = rest.split_first_chunk::<4>()?;
    let sound = masked(length) == u32::from_le_bytes(*check);
    let length = usize::try_from(u64::from_le_bytes(*length)).ok().filter(|_| sound)?;
    let (data, rest) = rest.split_at_checked(length)?;
    let (check, rest) = rest.split_first_chunk::<TAIL>()?;
    (masked(data) == u32::from_le_bytes(*check)).then_some((data, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The check value of CRC-32C, 0xe3069283, masked by hand: rotated by 15 bits it is
    /// 0x2507c60d, and 0xa282ead8 more is 0xc78ab0e5.
    #[test]
    fn the_checksum_is_the_masked_one() {
        assert_eq!(masked(b"123456789"), 0xc78a_b0e5);
    }

    #[test]
    fn torn_or_damaged_anywhere() {
        let pieces: [&[u8]; 3] = [b"", b"one", &[7; 300]];
        let whole: Vec<u8> = pieces.iter().flat_map(|piece| frame(piece)).collect();
        assert_eq!(frames(&whole), pieces);
        let ends = [16, 16 + 19, whole.len()];
        for cut in 0..whole.len() {
            let before = ends.iter().filter(|&&end| end <= cut).count();
            assert_eq!(frames(&whole[..cut]), pieces[..before], "cut at {cut}");
            let mut damaged = whole.clone();
            damaged[cut] ^= 1 << (cut % 8);
            assert_eq!(frames(&damaged), pieces[..before], "damaged at {cut}");
        }
    }
}
