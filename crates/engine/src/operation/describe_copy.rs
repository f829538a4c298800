//! DescribeCopy (ours): one outgoing copy with its steps.

use std::sync::Arc;

use strongroom_model::ApiError;
use strongroom_model::call::{Call, DescribeCopyRequest, DescribeCopyResponse, Reply};
use strongroom_store::control::copies;

use crate::caller::Caller;
use crate::copy::shown;
use crate::operation::{own_copy, read};
use crate::region::Region;

pub(super) async fn run(
    region: &Arc<Region>,
    caller: &Caller,
    _: &Call,
    input: DescribeCopyRequest,
) -> Result<Reply, ApiError> {
    let (region_in, account) = (region.clone(), caller.account.clone());
    let copy = read(region, move |tx| {
        let row = own_copy(tx, &account, &input.copy_id)?;
        let steps = copies::steps(tx, &input.copy_id)?;
        Ok(shown::outgoing(&region_in, row, Some(steps)))
    })
    .await?;
    Ok(Reply::DescribeCopy(DescribeCopyResponse { copy }))
}
