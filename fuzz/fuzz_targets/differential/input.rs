//! What the target makes its images from: the bytes of the input taken one after another, zeros once they are used up.

use crate::model::{Model, bytes};

/// The input, as far as it is not used up.
pub struct Input<'a> {
    left: &'a [u8],
    /// Where in a block it is looked at besides its borders: sectors from its start, modulo the block.
    pub inside: u64,
}

impl<'a> Input<'a> {
    pub fn new(left: &'a [u8]) -> Self {
        let mut input = Self { left, inside: 0 };
        input.inside = input.u16().into();
        input
    }

    pub fn byte(&mut self) -> u8 {
        self.left.split_off_first().copied().unwrap_or(0)
    }

    pub fn u16(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    pub fn is_empty(&self) -> bool {
        self.left.is_empty()
    }

    /// A number below a limit of at most 65,536 that is not 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        u64::from(self.u16()) % limit
    }

    pub fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize::from(self.byte()) % choices.len()]
    }

    /// From one byte to eight.
    pub fn few_bytes(&mut self) -> Vec<u8> {
        let count = self.byte() % 8 + 1;
        (0..count).map(|_| self.byte()).collect()
    }

    /// The offset of a sector in a block, near its start, its end, or where else it is looked at.
    pub fn spot(&mut self, block: u64) -> u64 {
        let near = u64::from(self.byte() % 8) * 512;
        match self.byte() % 3 {
            0 => near,
            1 => (self.inside * 512 + near) % block,
            _ => block - 512 - near,
        }
    }

    /// Something to be written into the bitmap of a block: the first byte, how many there are, and their value. Each tells
    /// of `per_byte` bytes of the disk. Long stretches are of one kind: libvhdi takes time
    /// that grows with the square of how often the bits change.
    pub fn bits(&mut self, block: u64, per_byte: u64) -> (u64, u64, u8) {
        let length = block.div_ceil(per_byte);
        let start = self.spot(block) / per_byte;
        let count = self.one_of(&[1, 1, 2, 8, 64, length]).min(length - start);
        let fill = self.one_of(&[0, 0xff, 0, 0xff, 0x0f, 0xf0, 0x80, 0x01, 0xa5]);
        (start, count, if count > 8 && fill != 0 { 0xff } else { fill })
    }

    /// A disk with some data in each of these blocks.
    pub fn disk(&mut self, size: u64, block: u64, blocks: &[u64]) -> Model {
        let mut disk = Model::new(size);
        let seed = u64::from(self.byte()) + 1;
        for number in blocks {
            let start = number * block + self.spot(block);
            let length = (u64::from(self.byte() % 24) * 512 + 1).min(size.saturating_sub(start));
            if length > 0 {
                disk.write(start, &bytes(seed + start, length as usize));
            }
        }
        disk
    }
}
