-- cluster/patience
-- DDL takes its locks or gives up (sql/README.md): whoever waits for an exclusive lock makes everybody behind it wait. Citus
-- passes the bound on to its own sessions on the workers, where the shards are, only because of the first line; a server
-- without the extension takes that one for a setting that nobody reads. It holds until the transaction ends.
set local citus.propagate_set_commands = 'local';
set local lock_timeout = '300ms';
