module github.com/tandem-sync/tandem

go 1.26
