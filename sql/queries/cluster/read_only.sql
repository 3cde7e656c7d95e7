-- cluster/read_only: a standby, or a node that was told to take no writes
select current_setting('transaction_read_only') = 'on'
