-- archive_file/forget
-- $1 tenant, $2 period, $3 part, $4 generation. The last file of a period that was ever published stays, lest its key be used
-- again.
delete from archive_files as gone
where gone.tenant_id = $1 and gone.period = $2 and gone.part = $3 and gone.generation = $4 and gone.state = 'garbage'
  and (
      gone.published_at is null
      or exists (
          select 1
          from archive_files as later
          where later.tenant_id = gone.tenant_id and later.period = gone.period
            and later.published_at is not null and later.generation > gone.generation
      )
  )
