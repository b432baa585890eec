//! What a start makes of the files: whole, cut, damaged, in use.

use super::load::look;
use super::rounds::end;
use super::{flags, program, start};
use crate::common::generate::Generator;
