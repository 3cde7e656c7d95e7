-- citus/admin/isolate_tenant
-- $1 tenant. CASCADE: the shards of all colocated tables are split alike. auto as in move_shard.
select isolate_tenant_to_new_shard('invoices', $1::uuid, 'CASCADE', shard_transfer_mode => 'auto') as shard_id
