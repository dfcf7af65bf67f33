"""Scripts for etcdctl (see `etcdctl.py`): what a person does with a cluster, command by command."""

SCRIPTS = {
    "version and help": """
        version
        get
        put a
        no such
        get a b c d
    """,
    "put and get": """
        put a 1
        put b 2 --prev-kv
        put b 3 --prev-kv
        get a
        get a -w json
        get a -w fields
        get b --hex
        get nothing
        get nothing -w json
        put -- -dash -value
        get -- -dash
        put c << from standard input
        get c --print-value-only
        put a --ignore-value
        put a 9 --ignore-value
        put new --ignore-value
        put a 4 --ignore-lease
        put new 4 --ignore-lease
        put "" 1
        get ""
        put a 1 --lease=abc
        put a 1 --lease=zz
        get a -w json
    """,
    "ranges": """
        put d/1 e
        put d/2 d
        put d/3 c
        put e b
        put d/2 a
        get d/ --prefix
        get d/ --prefix --keys-only
        get d/ --prefix --print-value-only
        get d/ --prefix --limit=2
        get d/ --prefix --limit=2 -w json
        get d/2 --from-key
        get d/1 d/3
        get d/3 d/1
        get d/ --prefix --rev=$rev+3
        get d/ --prefix --rev=$rev+100
        get d/ --prefix --sort-by=VALUE
        get d/ --prefix --sort-by=MODIFY --order=DESCEND
        get d/ --prefix --sort-by=CREATE --order=ASCEND
        get d/ --prefix --sort-by=VERSION --order=DESCEND --limit=1
        get d/ --prefix --sort-by=NOTHING
        get d/ --prefix --order=SIDEWAYS
        get d/ --prefix --consistency=s
        get d/ --prefix --consistency=x
        get d/ --prefix --from-key
        get "" --prefix -w json
        get "" --from-key --keys-only
        @all get e
    """,
    "delete": """
        put d/1 1
        put d/2 2
        put d/3 3
        put e 4
        put f 5
        del nothing
        del e
        del d/ --prefix --prev-kv
        del d/ --prefix
        put d/1 1
        put d/2 2
        del d/1 d/2 --prev-kv
        del d/2 --prev-kv -w json
        del f --from-key
        del "" --from-key -w json
        get "" --prefix --keys-only
    """,
    "transactions": """
        put a 1
        txn -i << value("a") = "1" | | put a 2 | get a | | put a 3 | |
        txn -i << value("a") = "1" | | put a 2 | | put b 3 | get a |
        txn << mod("a") > "0" | version("a") = "2" | | del a | get b | | | |
        txn << c("a") = "0" | | put a 5 | | |
        txn << version("b") > "0" | | get b --print-value-only | | |
        txn -w json << create("a") > "0" | | put a 6 | get a | del b | | | |
        txn << | put x 1 | put x 2 | | |
        txn << | put x 1 --lease=123 | | |
        txn << | get a --rev=100000 | | |
        txn << nonsense | | | |
        txn << value("a") = "7" | | nonsense | | |
        get a --prefix -w json
    """,
    "watch": """
        & W watch a --rev=$rev+1
        & P watch p/ --prefix --prev-kv --rev=$rev+1
        & R watch a c --rev=$rev+1
        & J watch p/ --prefix -w json --rev=$rev+1
        put a 1
        put a 2
        put b 3
        put p/1 one
        wait J 1
        put p/1 two
        wait J 2
        del p/ --prefix
        del a
        wait W 9
        wait P 13
        wait R 12
        wait J 3
        int W
        int P
        int R
        int J
    """,
    "watch from an old revision": """
        put a 1
        put a 2
        put a 3
        compaction $rev+2
        & W watch a --rev=$rev+2
        wait W 6
        int W
        & X watch a --rev=$rev+1
        end X
        & L watch -i
        type L watch a --rev=$rev+3
        wait L 3
        type L progress
        wait L 4
        type L nonsense
        wait L 5
        int L
    """,
    "watch that is talked to": """
        & W watch -i
        type W watch k --prev-kv
        type W progress
        wait W 1
        put k 1
        wait W 4
        type W watch p/ --prefix
        type W progress
        wait W 5
        put p/1 1
        wait W 8
        put k 2
        wait W 13
        int W
    """,
    "watch and do": """
        & W watch a --rev=$rev+1 -- echo there is
        put a 1
        wait W 4
        int W
        & E watch a --rev=$rev+1 -- sh -c 'env | grep ETCD_WATCH | sort'
        wait E 7
        int E
        & F watch
        end F
    """,
    "compaction": """
        put a 1
        put a 2
        put a 3
        compaction $rev+2
        get a --rev=$rev+1
        get a --rev=$rev+2
        compaction $rev+2
        compaction $rev+100
        compaction
        compaction x
        compaction $rev+3 --physical
        get a --rev=$rev+2
        get a
    """,
    "leases": """
        L := lease grant 100
        put a 1 --lease=$L
        put b 2 --lease=$L
        get a -w json
        lease timetolive $L
        lease timetolive $L --keys
        lease keep-alive --once $L
        lease list
        lease list -w json
        lease revoke $L
        lease revoke $L
        lease timetolive $L
        lease timetolive $L --keys
        lease keep-alive --once $L
        lease list
        get a
        put a 1 --lease=$L
        lease grant 9000000001
        lease grant x
        lease grant
        lease revoke
        lease revoke nohex
        S := lease grant 1
        put a 1 --lease=$S
        gone $S
        get a
    """,
    "keep-alive": """
        L := lease grant 2
        & K lease keep-alive $L
        wait K 2
        lease timetolive $L
        lease revoke $L
        end K
    """,
    "locks": """
        lock mutex echo held
        lock mutex -- sh -c 'test -n "$ETCD_LOCK_KEY" && test -n "$ETCD_LOCK_REV"'
        lock mutex -- sh -c 'exit 7'
        lock
        get mutex --prefix
        & A lock mutex
        wait A 1
        get mutex/ --prefix
        & B lock mutex
        keys 2 mutex/
        int A
        wait B 1
        & C lock mutex --ttl=5
        keys 2 mutex/
        int C
        keys 1 mutex/
        int B
        keys 0 mutex/
    """,
    "elections": """
        & A elect office anna
        wait A 2
        & B elect office bert
        keys 2 office/
        & L elect --listen office
        wait L 2
        int A
        wait B 2
        wait L 4
        int B
        keys 0 office/
        int L
        elect
        elect office
        lease list
    """,
    "members": """
        member list
        member list -w table
        member list -w json
        member list -w fields
        member add
        member add n9
        member add n9 --peer-urls=nonsense
        member remove
        member remove 123
        member remove xyz
        member update 123 --peer-urls=http://127.0.0.1:1
        member update 123
        member promote 123
        member promote xyz
    """,
    "endpoints": """
        put a 1
        @all endpoint status
        @all endpoint status -w table
        @all endpoint status -w json
        @all endpoint status -w fields
        @all endpoint health
        @all endpoint health -w table
        @n1 endpoint status --cluster
        @n1 endpoint health --cluster
        @n1 endpoint hashkv --cluster
        @all endpoint hashkv
        @all endpoint hashkv -w table
        @all endpoint hashkv -w json
        @all endpoint hashkv --rev=$rev+1
        @n1 endpoint hashkv --rev=$rev+100
        compaction $rev+1
        @n1 endpoint hashkv --rev=$rev
        @all alarm list
        @all alarm disarm
        @all defrag
        @n1 defrag --cluster
        @n1 move-leader 123
        @n1 move-leader
    """,
    "snapshot": """
        put a 1
        @n1 snapshot save $dir/s.db
        @all snapshot save $dir/s.db
        snapshot save
        snapshot save /no/such/folder/s.db
    """,
    "users and roles": """
        user list
        role list
        user add root:r
        user add root:r
        user add ""
        user add alice --new-user-password=a
        user add bob --no-password
        user add carol --interactive=false << c
        user list
        user list -w json
        role add root
        role add reader
        role add reader
        role add ""
        role grant-permission reader read a
        role grant-permission reader readwrite p/ --prefix
        role grant-permission reader write x z
        role grant-permission reader read k --from-key
        role grant-permission reader nonsense a
        role grant-permission nobody read a
        role get reader
        role get reader -w json
        role get nobody
        role list
        user grant-role root root
        user grant-role alice reader
        user grant-role alice reader
        user grant-role alice nobody
        user grant-role nobody reader
        user get alice
        user get alice --detail
        user get alice -w json
        user get nobody
        user passwd alice --interactive=false << a2
        user passwd nobody --interactive=false << x
        role revoke-permission reader x z
        role revoke-permission reader x z
        role revoke-permission reader p/ --prefix
        user revoke-role alice reader
        user revoke-role alice reader
        role get reader
        user grant-role alice reader
        role delete reader
        role delete reader
        user get alice
        user delete alice
        user delete alice
        auth disable
        user delete bob
        user delete carol
        user delete root
        role delete root
    """,
    "authentication": """
        auth enable
        user add root:r
        user add alice:a
        role add own
        role grant-permission own readwrite own/ --prefix
        role grant-permission own read shared
        user grant-role alice own
        put shared 1
        put secret 1
        auth enable
        auth enable
        auth enable --user=root:r
        get shared
        put shared 2
        get shared --user=alice:a
        get shared --user=alice --password=a
        get shared --user=alice:wrong
        get shared --user=nobody:x
        put shared 2 --user=alice:a
        get secret --user=alice:a
        put own/1 1 --user=alice:a
        get own/ --prefix --user=alice:a
        get "" --prefix --user=alice:a
        del own/ --prefix --user=alice:a
        del shared --user=alice:a
        put own/1 2 --prev-kv --user=alice:a
        txn --user=alice:a << value("own/1") = "2" | | put own/1 3 | | put secret 3 | |
        txn --user=alice:a << value("own/1") = "2" | | put own/1 3 | | get shared | |
        watch secret --user=alice:a
        & W watch own/ --prefix --rev=$rev+1 --user=alice:a
        wait W 12
        int W
        & W watch own/ --prefix --rev=$rev+1
        end W
        L := lease grant 100 --user=alice:a
        put own/2 1 --lease=$L --user=alice:a
        put secret 1 --lease=$L --user=root:r
        lease revoke $L --user=alice:a
        lease timetolive $L --keys --user=alice:a
        lease list --user=alice:a
        lease revoke $L --user=root:r
        compaction $rev+1 --user=alice:a
        user list --user=alice:a
        user add eve:e --user=alice:a
        user get alice --user=alice:a
        user get root --user=alice:a
        role get own --user=alice:a
        role get root --user=alice:a
        role list --user=alice:a
        role add more --user=alice:a
        member list --user=alice:a
        member remove 123 --user=alice:a
        member list
        @n1 endpoint status
        @n1 endpoint health
        @n1 endpoint health --user=root:r
        @n1 endpoint hashkv --user=alice:a
        @n1 alarm list --user=alice:a
        @n1 defrag --user=alice:a
        @n1 snapshot save $dir/s.db --user=alice:a
        @n1 snapshot save $dir/s.db --user=root:r
        lock own/mutex --user=alice:a echo held
        lock secret --user=alice:a echo held
        user delete root --user=root:r
        user revoke-role root root --user=root:r
        auth disable
        auth disable --user=alice:a
        auth disable --user=root:r
        auth disable
        user delete alice
        user delete root
        role delete own
        role delete root
        get own/ --prefix
    """,
}
CLEAN_UP = [  # whatever a script that failed left behind
    ["auth", "disable", "--user=root:r"],
    *(["user", "delete", name] for name in ("alice", "bob", "carol", "root")),
    *(["role", "delete", name] for name in ("own", "reader", "root")),
]
