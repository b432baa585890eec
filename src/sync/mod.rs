#![allow(unsafe_code)]
//! Lock-free building blocks: ring, seqlock, reclamation, watermark, turn cell.
