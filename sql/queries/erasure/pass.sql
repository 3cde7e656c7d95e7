-- erasure/pass
-- $1 tenant, $2 customer, $3 the request that the pass was for, $4 files, $5 files rewritten, $6 invoices in them, $7 held
-- years, $8 pending, $9 the day that the pass was for, $10 whether that is all, $11 now.
update erasures
set cold_files = $4, cold_files_rewritten = cold_files_rewritten + $5, cold_invoices = cold_invoices + $6, held = $7,
    pending = $8, passed_at = $9, completed_at = case when $10 then $9::timestamptz end,
    changed_at = case when $5 > 0 then greatest(changed_at, $11) else changed_at end
where tenant_id = $1 and customer_id = $2 and requested_at = $3
