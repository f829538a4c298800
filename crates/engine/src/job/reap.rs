//! Z4: the bytes of a doomed blob go, then its rows. An hour lies between two rounds of deleting, since a writer that was
//! only slow may still put a last chunk.

use strongroom_model::BlobId;
use strongroom_model::time::HOUR;
use strongroom_store::control::blobs;

use crate::job::{After, Lease, Stop};

/// How long a slow writer is given, in milliseconds.
const SLOW_WRITER: i64 = HOUR;

pub(crate) async fn run(lease: &Lease) -> Result<(), Stop> {
    let region = &lease.region;
    let blob_id = BlobId::new(&lease.claim.subject);
    let id = blob_id.clone();
    let Some(blob) = region.control.read(move |tx| blobs::get(tx, &id)).await? else {
        return lease.stop(After::End).await;
    };
    let Some(doomed_at) = blob.doomed_at else { return lease.stop(After::End).await };
    for n in 0..blob.upto {
        region.blobs.delete_chunk(&blob_id, n).await?;
    }
    lease
        .commit(move |tx, now| {
            // A payload that lived in its row has no late writer.
            if blob.upto > 0 && now < doomed_at.plus(SLOW_WRITER) {
                return Ok(((), After::Due(doomed_at.plus(SLOW_WRITER))));
            }
            blobs::delete(tx, &blob_id)?;
            Ok(((), After::End))
        })
        .await
}
