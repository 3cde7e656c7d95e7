-- cluster/has_citus
select 1 from pg_extension where extname = 'citus'
