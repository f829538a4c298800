//! What every executor must hold: the invariants of the rows, each raced by two callers that begin at the same moment.
//! A test is written once, over [`executor::Executor`]; another database joins by implementing that and adding one line at
//! the end of this file.

mod audit;
mod backups;
mod clusters;
mod copies;
mod executor;
mod jobs;
mod vault;

/// Runs every test on an executor.
macro_rules! conformance {
    ($name:ident: $executor:ty) => {
        conformance! { $name: $executor;
            audit {
                events_are_numbered_in_order, writers_have_a_chain_each, closures_that_run_again_chain_once,
                heads_are_signed_once, batches_are_read_as_their_events, a_damaged_block_is_told_apart, events_from_before_the_chain_stay_readable,
            }
            backups {
                cause_is_unique_in_a_cluster, copy_is_unique_in_its_region, restore_or_purge, ready_or_failed,
                pin_or_purge, pinned_blob_is_not_doomed, retention_spares_the_newest, pages_show_each_row_once,
                deleted_is_shown_to_who_asks, forgotten_only_when_nobody_needs_it, row_comes_back_as_it_was,
            }
            clusters {
                first_hsm_is_one, addresses_are_not_shared, cluster_goes_or_gets_an_hsm, tags_are_at_most_fifty, tags_keep_their_order,
                initialized_by_the_csr_that_was_checked, active_needs_both, answer_is_given_once,
                other_input_is_another_call, answers_end, outbox_cursor_moves_once, alarm_stays_as_it_began,
                pages_show_each_row_once, row_comes_back_as_it_was,
            }
            copies {
                settled_once, abandoned_is_corrected_by_a_receipt, lost_is_sent_again, receipt_numbers_have_no_gap,
                outcome_is_given_once, purge_is_given_once, behind_raises_the_number_for_good,
                frozen_tags_come_back, steps_keep_their_order,
            }
            jobs {
                claimed_by_one, slow_owner_cannot_write, waiter_wakes_with_its_row, live_lease_is_kept,
                recovery_voids_leases, schedule_moves_what_is_there, removed_and_written_anew, late_renewal,
            }
            vault {
                head_moves_once, login_tries_are_five, acknowledgement_spares_what_is_newer, request_is_answered_once,
                staged_rows_go_with_their_epoch, tombstone_keeps_no_row, withdrawn_hsm_stays, objects_come_in_pages,
            }
        }
    };
    ($name:ident: $executor:ty; $($module:ident { $($test:ident),+ $(,)? })+) => {
        mod $name {
            $(mod $module {
                $(#[test]
                fn $test() {
                    crate::executor::run::<$executor>(crate::$module::$test::<$executor>);
                })+
            })+
        }
    };
}

conformance!(sqlite: crate::executor::Sqlite);
conformance!(postgres: strongroom_store::postgres::Postgres);
