-- cluster/sequential
-- A migration's DDL goes to the shards one after the other: over several connections, what comes after other DDL of the same
-- transaction could wait for itself, and Citus refuses it. Read by Citus alone.
set local citus.multi_shard_modify_mode = 'sequential';
