-- SHA-256 of an archived object from tail_offset on: readers fetch that part alone, and trust all offsets and checksums in
-- it. None for files of older binaries, which go on without writing it.
alter table archive_files add column tail_sha256 bytea;
