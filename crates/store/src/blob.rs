//! stub
/// stub
pub trait Blobs {}
/// stub
pub struct Directory;
