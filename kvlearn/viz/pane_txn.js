// txn
