//! What a provider's answer means for the key that was used.

pub mod pack;
