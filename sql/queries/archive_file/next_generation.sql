-- archive_file/next_generation
-- $1 tenant, $2 $3 first and last period of a year. Every attempt writes under a key of its own. Counted over all files of the year:
-- the last number is kept for ever (see forget), since readers remember a file by its key, and
-- deletions may come late.
select coalesce(max(generation) + 1, 1)::integer from archive_files where tenant_id = $1 and period >= $2 and period <= $3
