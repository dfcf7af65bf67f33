"""Generated from rpc.proto by `python -m kvlearn.live.proto`: do not edit."""

# ruff: noqa
import kvlearn.live.proto.auth_pb2  # noqa: F401
import kvlearn.live.proto.kv_pb2  # noqa: F401
from kvlearn.live.proto.pool import File

FILE = File(
    b'\n\trpc.proto\x12\x0cetcdserverpb\x1a\nauth.proto\x1a\x08kv.proto"\x85\x01\n\x0eRespons'
    b'eHeader\x12\x1d\n\ncluster_id\x18\x01 \x01(\x04R\tclusterId\x12\x1b\n\tmember_id\x18'
    b'\x02 \x01(\x04R\x08memberId\x12\x1a\n\x08revision\x18\x03 \x01(\x03R\x08revision\x12'
    b'\x1b\n\traft_term\x18\x04 \x01(\x04R\x08raftTerm"\x84\x05\n\x0cRangeRequest\x12\x10\n'
    b'\x03key\x18\x01 \x01(\x0cR\x03key\x12\x1b\n\trange_end\x18\x02 \x01(\x0cR\x08rangeEnd'
    b'\x12\x14\n\x05limit\x18\x03 \x01(\x03R\x05limit\x12\x1a\n\x08revision\x18\x04 \x01(\x03'
    b'R\x08revision\x12C\n\nsort_order\x18\x05 \x01(\x0e2$.etcdserverpb.RangeRequest.SortOrde'
    b'rR\tsortOrder\x12F\n\x0bsort_target\x18\x06 \x01(\x0e2%.etcdserverpb.RangeRequest.SortT'
    b'argetR\nsortTarget\x12"\n\x0cserializable\x18\x07 \x01(\x08R\x0cserializable\x12\x1b\n'
    b'\tkeys_only\x18\x08 \x01(\x08R\x08keysOnly\x12\x1d\n\ncount_only\x18\t \x01(\x08R\tcoun'
    b'tOnly\x12(\n\x10min_mod_revision\x18\n \x01(\x03R\x0eminModRevision\x12(\n\x10max_mod_r'
    b'evision\x18\x0b \x01(\x03R\x0emaxModRevision\x12.\n\x13min_create_revision\x18\x0c \x01'
    b'(\x03R\x11minCreateRevision\x12.\n\x13max_create_revision\x18\r \x01(\x03R\x11maxCreate'
    b'Revision".\n\tSortOrder\x12\x08\n\x04NONE\x10\x00\x12\n\n\x06ASCEND\x10\x01\x12\x0b\n'
    b'\x07DESCEND\x10\x02"B\n\nSortTarget\x12\x07\n\x03KEY\x10\x00\x12\x0b\n\x07VERSION\x10'
    b'\x01\x12\n\n\x06CREATE\x10\x02\x12\x07\n\x03MOD\x10\x03\x12\t\n\x05VALUE\x10\x04"\x93'
    b'\x01\n\rRangeResponse\x124\n\x06header\x18\x01 \x01(\x0b2\x1c.etcdserverpb.ResponseHead'
    b'erR\x06header\x12"\n\x03kvs\x18\x02 \x03(\x0b2\x10.mvccpb.KeyValueR\x03kvs\x12\x12\n'
    b'\x04more\x18\x03 \x01(\x08R\x04more\x12\x14\n\x05count\x18\x04 \x01(\x03R\x05count"\xa9'
    b'\x01\n\nPutRequest\x12\x10\n\x03key\x18\x01 \x01(\x0cR\x03key\x12\x14\n\x05value\x18'
    b'\x02 \x01(\x0cR\x05value\x12\x14\n\x05lease\x18\x03 \x01(\x03R\x05lease\x12\x17\n\x07pr'
    b'ev_kv\x18\x04 \x01(\x08R\x06prevKv\x12!\n\x0cignore_value\x18\x05 \x01(\x08R\x0bignoreV'
    b'alue\x12!\n\x0cignore_lease\x18\x06 \x01(\x08R\x0bignoreLease"n\n\x0bPutResponse\x124\n'
    b'\x06header\x18\x01 \x01(\x0b2\x1c.etcdserverpb.ResponseHeaderR\x06header\x12)\n\x07prev'
    b'_kv\x18\x02 \x01(\x0b2\x10.mvccpb.KeyValueR\x06prevKv"\\\n\x12DeleteRangeRequest\x12'
    b'\x10\n\x03key\x18\x01 \x01(\x0cR\x03key\x12\x1b\n\trange_end\x18\x02 \x01(\x0cR\x08rang'
    b'eEnd\x12\x17\n\x07prev_kv\x18\x03 \x01(\x08R\x06prevKv"\x92\x01\n\x13DeleteRangeRespons'
    b'e\x124\n\x06header\x18\x01 \x01(\x0b2\x1c.etcdserverpb.ResponseHeaderR\x06header\x12'
    b'\x18\n\x07deleted\x18\x02 \x01(\x03R\x07deleted\x12+\n\x08prev_kvs\x18\x03 \x03(\x0b2'
    b'\x10.mvccpb.KeyValueR\x07prevKvs"\xa9\x02\n\tRequestOp\x12A\n\rrequest_range\x18\x01 '
    b'\x01(\x0b2\x1a.etcdserverpb.RangeRequestH\x00R\x0crequestRange\x12;\n\x0brequest_put'
    b'\x18\x02 \x01(\x0b2\x18.etcdserverpb.PutRequestH\x00R\nrequestPut\x12T\n\x14request_del'
    b'ete_range\x18\x03 \x01(\x0b2 .etcdserverpb.DeleteRangeRequestH\x00R\x12requestDeleteRan'
    b'ge\x12;\n\x0brequest_txn\x18\x04 \x01(\x0b2\x18.etcdserverpb.TxnRequestH\x00R\nrequestT'
    b'xnB\t\n\x07request"\xb7\x02\n\nResponseOp\x12D\n\x0eresponse_range\x18\x01 \x01(\x0b2'
    b'\x1b.etcdserverpb.RangeResponseH\x00R\rresponseRange\x12>\n\x0cresponse_put\x18\x02 '
    b'\x01(\x0b2\x19.etcdserverpb.PutResponseH\x00R\x0bresponsePut\x12W\n\x15response_delete_'
    b'range\x18\x03 \x01(\x0b2!.etcdserverpb.DeleteRangeResponseH\x00R\x13responseDeleteRange'
    b'\x12>\n\x0cresponse_txn\x18\x04 \x01(\x0b2\x19.etcdserverpb.TxnResponseH\x00R\x0brespon'
    b'seTxnB\n\n\x08response"\xe9\x03\n\x07Compare\x12;\n\x06result\x18\x01 \x01(\x0e2#.etcds'
    b'erverpb.Compare.CompareResultR\x06result\x12;\n\x06target\x18\x02 \x01(\x0e2#.etcdserve'
    b'rpb.Compare.CompareTargetR\x06target\x12\x10\n\x03key\x18\x03 \x01(\x0cR\x03key\x12\x1a'
    b'\n\x07version\x18\x04 \x01(\x03H\x00R\x07version\x12)\n\x0fcreate_revision\x18\x05 \x01'
    b'(\x03H\x00R\x0ecreateRevision\x12#\n\x0cmod_revision\x18\x06 \x01(\x03H\x00R\x0bmodRevi'
    b'sion\x12\x16\n\x05value\x18\x07 \x01(\x0cH\x00R\x05value\x12\x16\n\x05lease\x18\x08 '
    b'\x01(\x03H\x00R\x05lease\x12\x1b\n\trange_end\x18@ \x01(\x0cR\x08rangeEnd"@\n\rCompareR'
    b'esult\x12\t\n\x05EQUAL\x10\x00\x12\x0b\n\x07GREATER\x10\x01\x12\x08\n\x04LESS\x10\x02'
    b'\x12\r\n\tNOT_EQUAL\x10\x03"G\n\rCompareTarget\x12\x0b\n\x07VERSION\x10\x00\x12\n\n\x06'
    b'CREATE\x10\x01\x12\x07\n\x03MOD\x10\x02\x12\t\n\x05VALUE\x10\x03\x12\t\n\x05LEASE\x10'
    b'\x04B\x0e\n\x0ctarget_union"\xa3\x01\n\nTxnRequest\x12/\n\x07compare\x18\x01 \x03(\x0b2'
    b'\x15.etcdserverpb.CompareR\x07compare\x121\n\x07success\x18\x02 \x03(\x0b2\x17.etcdserv'
    b'erpb.RequestOpR\x07success\x121\n\x07failure\x18\x03 \x03(\x0b2\x17.etcdserverpb.Reques'
    b'tOpR\x07failure"\x99\x01\n\x0bTxnResponse\x124\n\x06header\x18\x01 \x01(\x0b2\x1c.etcds'
    b'erverpb.ResponseHeaderR\x06header\x12\x1c\n\tsucceeded\x18\x02 \x01(\x08R\tsucceeded'
    b'\x126\n\tresponses\x18\x03 \x03(\x0b2\x18.etcdserverpb.ResponseOpR\tresponses"K\n\x11Co'
    b'mpactionRequest\x12\x1a\n\x08revision\x18\x01 \x01(\x03R\x08revision\x12\x1a\n\x08physi'
    b'cal\x18\x02 \x01(\x08R\x08physical"J\n\x12CompactionResponse\x124\n\x06header\x18\x01 '
    b'\x01(\x0b2\x1c.etcdserverpb.ResponseHeaderR\x06header"\x86\x02\n\x0cWatchRequest\x12I\n'
    b'\x0ecreate_request\x18\x01 \x01(\x0b2 .etcdserverpb.WatchCreateRequestH\x00R\rcreateReq'
    b'uest\x12I\n\x0ecancel_request\x18\x02 \x01(\x0b2 .etcdserverpb.WatchCancelRequestH\x00R'
    b'\rcancelRequest\x12O\n\x10progress_request\x18\x03 \x01(\x0b2".etcdserverpb.WatchProgre'
    b'ssRequestH\x00R\x0fprogressRequestB\x0f\n\rrequest_union"\xd1\x02\n\x12WatchCreateReque'
    b'st\x12\x10\n\x03key\x18\x01 \x01(\x0cR\x03key\x12\x1b\n\trange_end\x18\x02 \x01(\x0cR'
    b"\x08rangeEnd\x12%\n\x0estart_revision\x18\x03 \x01(\x03R\rstartRevision\x12'\n\x0fprogr"
    b'ess_notify\x18\x04 \x01(\x08R\x0eprogressNotify\x12E\n\x07filters\x18\x05 \x03(\x0e2+.e'
    b'tcdserverpb.WatchCreateRequest.FilterTypeR\x07filters\x12\x17\n\x07prev_kv\x18\x06 \x01'
    b'(\x08R\x06prevKv\x12\x19\n\x08watch_id\x18\x07 \x01(\x03R\x07watchId\x12\x1a\n\x08fragm'
    b'ent\x18\x08 \x01(\x08R\x08fragment"%\n\nFilterType\x12\t\n\x05NOPUT\x10\x00\x12\x0c\n'
    b'\x08NODELETE\x10\x01"/\n\x12WatchCancelRequest\x12\x19\n\x08watch_id\x18\x01 \x01(\x03R'
    b'\x07watchId"\x16\n\x14WatchProgressRequest"\xa9\x02\n\rWatchResponse\x124\n\x06header'
    b'\x18\x01 \x01(\x0b2\x1c.etcdserverpb.ResponseHeaderR\x06header\x12\x19\n\x08watch_id'
    b'\x18\x02 \x01(\x03R\x07watchId\x12\x18\n\x07created\x18\x03 \x01(\x08R\x07created\x12'
    b'\x1a\n\x08canceled\x18\x04 \x01(\x08R\x08canceled\x12)\n\x10compact_revision\x18\x05 '
    b'\x01(\x03R\x0fcompactRevision\x12#\n\rcancel_reason\x18\x06 \x01(\tR\x0ccancelReason'
    b'\x12\x1a\n\x08fragment\x18\x07 \x01(\x08R\x08fragment\x12%\n\x06events\x18\x0b \x03('
    b'\x0b2\r.mvccpb.EventR\x06events"5\n\x11LeaseGrantRequest\x12\x10\n\x03TTL\x18\x01 \x01('
    b'\x03R\x03TTL\x12\x0e\n\x02ID\x18\x02 \x01(\x03R\x02ID"\x82\x01\n\x12LeaseGrantResponse'
    b'\x124\n\x06header\x18\x01 \x01(\x0b2\x1c.etcdserverpb.ResponseHeaderR\x06header\x12\x0e'
    b'\n\x02ID\x18\x02 \x01(\x03R\x02ID\x12\x10\n\x03TTL\x18\x03 \x01(\x03R\x03TTL\x12\x14\n'
    b'\x05error\x18\x04 \x01(\tR\x05error"$\n\x12LeaseRevokeRequest\x12\x0e\n\x02ID\x18\x01 '
    b'\x01(\x03R\x02ID"K\n\x13LeaseRevokeResponse\x124\n\x06header\x18\x01 \x01(\x0b2\x1c.etc'
    b'dserverpb.ResponseHeaderR\x06header"F\n\x0fLeaseCheckpoint\x12\x0e\n\x02ID\x18\x01 \x01'
    b'(\x03R\x02ID\x12#\n\rremaining_TTL\x18\x02 \x01(\x03R\x0cremainingTTL"Y\n\x16LeaseCheck'
    b'pointRequest\x12?\n\x0bcheckpoints\x18\x01 \x03(\x0b2\x1d.etcdserverpb.LeaseCheckpointR'
    b'\x0bcheckpoints"O\n\x17LeaseCheckpointResponse\x124\n\x06header\x18\x01 \x01(\x0b2\x1c.'
    b'etcdserverpb.ResponseHeaderR\x06header"\'\n\x15LeaseKeepAliveRequest\x12\x0e\n\x02ID'
    b'\x18\x01 \x01(\x03R\x02ID"p\n\x16LeaseKeepAliveResponse\x124\n\x06header\x18\x01 \x01('
    b'\x0b2\x1c.etcdserverpb.ResponseHeaderR\x06header\x12\x0e\n\x02ID\x18\x02 \x01(\x03R\x02'
    b'ID\x12\x10\n\x03TTL\x18\x03 \x01(\x03R\x03TTL"<\n\x16LeaseTimeToLiveRequest\x12\x0e\n'
    b'\x02ID\x18\x01 \x01(\x03R\x02ID\x12\x12\n\x04keys\x18\x02 \x01(\x08R\x04keys"\xa5\x01\n'
    b'\x17LeaseTimeToLiveResponse\x124\n\x06header\x18\x01 \x01(\x0b2\x1c.etcdserverpb.Respon'
    b'seHeaderR\x06header\x12\x0e\n\x02ID\x18\x02 \x01(\x03R\x02ID\x12\x10\n\x03TTL\x18\x03 '
    b'\x01(\x03R\x03TTL\x12\x1e\n\ngrantedTTL\x18\x04 \x01(\x03R\ngrantedTTL\x12\x12\n\x04key'
    b's\x18\x05 \x03(\x0cR\x04keys"\x14\n\x12LeaseLeasesRequest"\x1d\n\x0bLeaseStatus\x12\x0e'
    b'\n\x02ID\x18\x01 \x01(\x03R\x02ID"~\n\x13LeaseLeasesResponse\x124\n\x06header\x18\x01 '
    b'\x01(\x0b2\x1c.etcdserverpb.ResponseHeaderR\x06header\x121\n\x06leases\x18\x02 \x03('
    b'\x0b2\x19.etcdserverpb.LeaseStatusR\x06leases"\x86\x01\n\x06Member\x12\x0e\n\x02ID\x18'
    b'\x01 \x01(\x04R\x02ID\x12\x12\n\x04name\x18\x02 \x01(\tR\x04name\x12\x1a\n\x08peerURLs'
    b'\x18\x03 \x03(\tR\x08peerURLs\x12\x1e\n\nclientURLs\x18\x04 \x03(\tR\nclientURLs\x12'
    b'\x1c\n\tisLearner\x18\x05 \x01(\x08R\tisLearner"L\n\x10MemberAddRequest\x12\x1a\n\x08pe'
    b'erURLs\x18\x01 \x03(\tR\x08peerURLs\x12\x1c\n\tisLearner\x18\x02 \x01(\x08R\tisLearner"'
    b'\xa7\x01\n\x11MemberAddResponse\x124\n\x06header\x18\x01 \x01(\x0b2\x1c.etcdserverpb.Re'
    b'sponseHeaderR\x06header\x12,\n\x06member\x18\x02 \x01(\x0b2\x14.etcdserverpb.MemberR'
    b'\x06member\x12.\n\x07members\x18\x03 \x03(\x0b2\x14.etcdserverpb.MemberR\x07members"%\n'
    b'\x13MemberRemoveRequest\x12\x0e\n\x02ID\x18\x01 \x01(\x04R\x02ID"|\n\x14MemberRemoveRes'
    b'ponse\x124\n\x06header\x18\x01 \x01(\x0b2\x1c.etcdserverpb.ResponseHeaderR\x06header'
    b'\x12.\n\x07members\x18\x02 \x03(\x0b2\x14.etcdserverpb.MemberR\x07members"A\n\x13Member'
    b'UpdateRequest\x12\x0e\n\x02ID\x18\x01 \x01(\x04R\x02ID\x12\x1a\n\x08peerURLs\x18\x02 '
    b'\x03(\tR\x08peerURLs"|\n\x14MemberUpdateResponse\x124\n\x06header\x18\x01 \x01(\x0b2'
    b'\x1c.etcdserverpb.ResponseHeaderR\x06header\x12.\n\x07members\x18\x02 \x03(\x0b2\x14.et'
    b'cdserverpb.MemberR\x07members"7\n\x11MemberListRequest\x12"\n\x0clinearizable\x18\x01 '
    b'\x01(\x08R\x0clinearizable"z\n\x12MemberListResponse\x124\n\x06header\x18\x01 \x01(\x0b'
    b'2\x1c.etcdserverpb.ResponseHeaderR\x06header\x12.\n\x07members\x18\x02 \x03(\x0b2\x14.e'
    b'tcdserverpb.MemberR\x07members"&\n\x14MemberPromoteRequest\x12\x0e\n\x02ID\x18\x01 \x01'
    b'(\x04R\x02ID"}\n\x15MemberPromoteResponse\x124\n\x06header\x18\x01 \x01(\x0b2\x1c.etcds'
    b'erverpb.ResponseHeaderR\x06header\x12.\n\x07members\x18\x02 \x03(\x0b2\x14.etcdserverpb'
    b'.MemberR\x07members"\xcf\x01\n\x0cAlarmRequest\x12>\n\x06action\x18\x01 \x01(\x0e2&.etc'
    b'dserverpb.AlarmRequest.AlarmActionR\x06action\x12\x1a\n\x08memberID\x18\x02 \x01(\x04R'
    b'\x08memberID\x12-\n\x05alarm\x18\x03 \x01(\x0e2\x17.etcdserverpb.AlarmTypeR\x05alarm"4'
    b'\n\x0bAlarmAction\x12\x07\n\x03GET\x10\x00\x12\x0c\n\x08ACTIVATE\x10\x01\x12\x0e\n\nDEA'
    b'CTIVATE\x10\x02"X\n\x0bAlarmMember\x12\x1a\n\x08memberID\x18\x01 \x01(\x04R\x08memberID'
    b'\x12-\n\x05alarm\x18\x02 \x01(\x0e2\x17.etcdserverpb.AlarmTypeR\x05alarm"x\n\rAlarmResp'
    b'onse\x124\n\x06header\x18\x01 \x01(\x0b2\x1c.etcdserverpb.ResponseHeaderR\x06header\x12'
    b'1\n\x06alarms\x18\x02 \x03(\x0b2\x19.etcdserverpb.AlarmMemberR\x06alarms"\x0f\n\rStatus'
    b'Request"\xce\x02\n\x0eStatusResponse\x124\n\x06header\x18\x01 \x01(\x0b2\x1c.etcdserver'
    b'pb.ResponseHeaderR\x06header\x12\x18\n\x07version\x18\x02 \x01(\tR\x07version\x12\x16\n'
    b'\x06dbSize\x18\x03 \x01(\x03R\x06dbSize\x12\x16\n\x06leader\x18\x04 \x01(\x04R\x06leade'
    b'r\x12\x1c\n\traftIndex\x18\x05 \x01(\x04R\traftIndex\x12\x1a\n\x08raftTerm\x18\x06 \x01'
    b'(\x04R\x08raftTerm\x12*\n\x10raftAppliedIndex\x18\x07 \x01(\x04R\x10raftAppliedIndex'
    b'\x12\x16\n\x06errors\x18\x08 \x03(\tR\x06errors\x12 \n\x0bdbSizeInUse\x18\t \x01(\x03R'
    b'\x0bdbSizeInUse\x12\x1c\n\tisLearner\x18\n \x01(\x08R\tisLearner"\x13\n\x11DefragmentRe'
    b'quest"J\n\x12DefragmentResponse\x124\n\x06header\x18\x01 \x01(\x0b2\x1c.etcdserverpb.Re'
    b'sponseHeaderR\x06header"\r\n\x0bHashRequest"X\n\x0cHashResponse\x124\n\x06header\x18'
    b'\x01 \x01(\x0b2\x1c.etcdserverpb.ResponseHeaderR\x06header\x12\x12\n\x04hash\x18\x02 '
    b'\x01(\rR\x04hash"+\n\rHashKVRequest\x12\x1a\n\x08revision\x18\x01 \x01(\x03R\x08revisio'
    b'n"\x85\x01\n\x0eHashKVResponse\x124\n\x06header\x18\x01 \x01(\x0b2\x1c.etcdserverpb.Res'
    b'ponseHeaderR\x06header\x12\x12\n\x04hash\x18\x02 \x01(\rR\x04hash\x12)\n\x10compact_rev'
    b'ision\x18\x03 \x01(\x03R\x0fcompactRevision"\x11\n\x0fSnapshotRequest"\x85\x01\n\x10Sna'
    b'pshotResponse\x124\n\x06header\x18\x01 \x01(\x0b2\x1c.etcdserverpb.ResponseHeaderR\x06h'
    b"eader\x12'\n\x0fremaining_bytes\x18\x02 \x01(\x04R\x0eremainingBytes\x12\x12\n\x04blob"
    b'\x18\x03 \x01(\x0cR\x04blob"/\n\x11MoveLeaderRequest\x12\x1a\n\x08targetID\x18\x01 \x01'
    b'(\x04R\x08targetID"J\n\x12MoveLeaderResponse\x124\n\x06header\x18\x01 \x01(\x0b2\x1c.et'
    b'cdserverpb.ResponseHeaderR\x06header"\xad\x01\n\x10DowngradeRequest\x12F\n\x06action'
    b'\x18\x01 \x01(\x0e2..etcdserverpb.DowngradeRequest.DowngradeActionR\x06action\x12\x18\n'
    b'\x07version\x18\x02 \x01(\tR\x07version"7\n\x0fDowngradeAction\x12\x0c\n\x08VALIDATE'
    b'\x10\x00\x12\n\n\x06ENABLE\x10\x01\x12\n\n\x06CANCEL\x10\x02"c\n\x11DowngradeResponse'
    b'\x124\n\x06header\x18\x01 \x01(\x0b2\x1c.etcdserverpb.ResponseHeaderR\x06header\x12\x18'
    b'\n\x07version\x18\x02 \x01(\tR\x07version"\x13\n\x11AuthEnableRequest"\x14\n\x12AuthDis'
    b'ableRequest"\x13\n\x11AuthStatusRequest"E\n\x13AuthenticateRequest\x12\x12\n\x04name'
    b'\x18\x01 \x01(\tR\x04name\x12\x1a\n\x08password\x18\x02 \x01(\tR\x08password"\x9e\x01\n'
    b'\x12AuthUserAddRequest\x12\x12\n\x04name\x18\x01 \x01(\tR\x04name\x12\x1a\n\x08password'
    b'\x18\x02 \x01(\tR\x08password\x120\n\x07options\x18\x03 \x01(\x0b2\x16.authpb.UserAddOp'
    b'tionsR\x07options\x12&\n\x0ehashedPassword\x18\x04 \x01(\tR\x0ehashedPassword"(\n\x12Au'
    b'thUserGetRequest\x12\x12\n\x04name\x18\x01 \x01(\tR\x04name"\x15\n\x13AuthUserListReque'
    b'st"+\n\x15AuthUserDeleteRequest\x12\x12\n\x04name\x18\x01 \x01(\tR\x04name"w\n\x1dAuthU'
    b'serChangePasswordRequest\x12\x12\n\x04name\x18\x01 \x01(\tR\x04name\x12\x1a\n\x08passwo'
    b'rd\x18\x02 \x01(\tR\x08password\x12&\n\x0ehashedPassword\x18\x03 \x01(\tR\x0ehashedPass'
    b'word"B\n\x18AuthUserGrantRoleRequest\x12\x12\n\x04user\x18\x01 \x01(\tR\x04user\x12\x12'
    b'\n\x04role\x18\x02 \x01(\tR\x04role"C\n\x19AuthUserRevokeRoleRequest\x12\x12\n\x04name'
    b'\x18\x01 \x01(\tR\x04name\x12\x12\n\x04role\x18\x02 \x01(\tR\x04role"(\n\x12AuthRoleAdd'
    b'Request\x12\x12\n\x04name\x18\x01 \x01(\tR\x04name"(\n\x12AuthRoleGetRequest\x12\x12\n'
    b'\x04role\x18\x01 \x01(\tR\x04role"\x15\n\x13AuthRoleListRequest"+\n\x15AuthRoleDeleteRe'
    b'quest\x12\x12\n\x04role\x18\x01 \x01(\tR\x04role"\\\n\x1eAuthRoleGrantPermissionRequest'
    b'\x12\x12\n\x04name\x18\x01 \x01(\tR\x04name\x12&\n\x04perm\x18\x02 \x01(\x0b2\x12.authp'
    b'b.PermissionR\x04perm"d\n\x1fAuthRoleRevokePermissionRequest\x12\x12\n\x04role\x18\x01 '
    b'\x01(\tR\x04role\x12\x10\n\x03key\x18\x02 \x01(\x0cR\x03key\x12\x1b\n\trange_end\x18'
    b'\x03 \x01(\x0cR\x08rangeEnd"J\n\x12AuthEnableResponse\x124\n\x06header\x18\x01 \x01('
    b'\x0b2\x1c.etcdserverpb.ResponseHeaderR\x06header"K\n\x13AuthDisableResponse\x124\n\x06h'
    b'eader\x18\x01 \x01(\x0b2\x1c.etcdserverpb.ResponseHeaderR\x06header"\x88\x01\n\x12AuthS'
    b'tatusResponse\x124\n\x06header\x18\x01 \x01(\x0b2\x1c.etcdserverpb.ResponseHeaderR\x06h'
    b'eader\x12\x18\n\x07enabled\x18\x02 \x01(\x08R\x07enabled\x12"\n\x0cauthRevision\x18\x03'
    b' \x01(\x04R\x0cauthRevision"b\n\x14AuthenticateResponse\x124\n\x06header\x18\x01 \x01('
    b'\x0b2\x1c.etcdserverpb.ResponseHeaderR\x06header\x12\x14\n\x05token\x18\x02 \x01(\tR'
    b'\x05token"K\n\x13AuthUserAddResponse\x124\n\x06header\x18\x01 \x01(\x0b2\x1c.etcdserver'
    b'pb.ResponseHeaderR\x06header"a\n\x13AuthUserGetResponse\x124\n\x06header\x18\x01 \x01('
    b'\x0b2\x1c.etcdserverpb.ResponseHeaderR\x06header\x12\x14\n\x05roles\x18\x02 \x03(\tR'
    b'\x05roles"b\n\x14AuthUserListResponse\x124\n\x06header\x18\x01 \x01(\x0b2\x1c.etcdserve'
    b'rpb.ResponseHeaderR\x06header\x12\x14\n\x05users\x18\x02 \x03(\tR\x05users"N\n\x16AuthU'
    b'serDeleteResponse\x124\n\x06header\x18\x01 \x01(\x0b2\x1c.etcdserverpb.ResponseHeaderR'
    b'\x06header"V\n\x1eAuthUserChangePasswordResponse\x124\n\x06header\x18\x01 \x01(\x0b2'
    b'\x1c.etcdserverpb.ResponseHeaderR\x06header"Q\n\x19AuthUserGrantRoleResponse\x124\n\x06'
    b'header\x18\x01 \x01(\x0b2\x1c.etcdserverpb.ResponseHeaderR\x06header"R\n\x1aAuthUserRev'
    b'okeRoleResponse\x124\n\x06header\x18\x01 \x01(\x0b2\x1c.etcdserverpb.ResponseHeaderR'
    b'\x06header"K\n\x13AuthRoleAddResponse\x124\n\x06header\x18\x01 \x01(\x0b2\x1c.etcdserve'
    b'rpb.ResponseHeaderR\x06header"s\n\x13AuthRoleGetResponse\x124\n\x06header\x18\x01 \x01('
    b'\x0b2\x1c.etcdserverpb.ResponseHeaderR\x06header\x12&\n\x04perm\x18\x02 \x03(\x0b2\x12.'
    b'authpb.PermissionR\x04perm"b\n\x14AuthRoleListResponse\x124\n\x06header\x18\x01 \x01('
    b'\x0b2\x1c.etcdserverpb.ResponseHeaderR\x06header\x12\x14\n\x05roles\x18\x02 \x03(\tR'
    b'\x05roles"N\n\x16AuthRoleDeleteResponse\x124\n\x06header\x18\x01 \x01(\x0b2\x1c.etcdser'
    b'verpb.ResponseHeaderR\x06header"W\n\x1fAuthRoleGrantPermissionResponse\x124\n\x06header'
    b'\x18\x01 \x01(\x0b2\x1c.etcdserverpb.ResponseHeaderR\x06header"X\n AuthRoleRevokePermis'
    b'sionResponse\x124\n\x06header\x18\x01 \x01(\x0b2\x1c.etcdserverpb.ResponseHeaderR\x06he'
    b'ader*/\n\tAlarmType\x12\x08\n\x04NONE\x10\x00\x12\x0b\n\x07NOSPACE\x10\x01\x12\x0b\n'
    b'\x07CORRUPT\x10\x022\xe0\x02\n\x02KV\x12@\n\x05Range\x12\x1a.etcdserverpb.RangeRequest'
    b'\x1a\x1b.etcdserverpb.RangeResponse\x12:\n\x03Put\x12\x18.etcdserverpb.PutRequest\x1a'
    b'\x19.etcdserverpb.PutResponse\x12R\n\x0bDeleteRange\x12 .etcdserverpb.DeleteRangeReques'
    b't\x1a!.etcdserverpb.DeleteRangeResponse\x12:\n\x03Txn\x12\x18.etcdserverpb.TxnRequest'
    b'\x1a\x19.etcdserverpb.TxnResponse\x12L\n\x07Compact\x12\x1f.etcdserverpb.CompactionRequ'
    b'est\x1a .etcdserverpb.CompactionResponse2M\n\x05Watch\x12D\n\x05Watch\x12\x1a.etcdserve'
    b'rpb.WatchRequest\x1a\x1b.etcdserverpb.WatchResponse(\x010\x012\xc1\x03\n\x05Lease\x12O'
    b'\n\nLeaseGrant\x12\x1f.etcdserverpb.LeaseGrantRequest\x1a .etcdserverpb.LeaseGrantRespo'
    b'nse\x12R\n\x0bLeaseRevoke\x12 .etcdserverpb.LeaseRevokeRequest\x1a!.etcdserverpb.LeaseR'
    b'evokeResponse\x12_\n\x0eLeaseKeepAlive\x12#.etcdserverpb.LeaseKeepAliveRequest\x1a$.etc'
    b'dserverpb.LeaseKeepAliveResponse(\x010\x01\x12^\n\x0fLeaseTimeToLive\x12$.etcdserverpb.'
    b'LeaseTimeToLiveRequest\x1a%.etcdserverpb.LeaseTimeToLiveResponse\x12R\n\x0bLeaseLeases'
    b'\x12 .etcdserverpb.LeaseLeasesRequest\x1a!.etcdserverpb.LeaseLeasesResponse2\xb0\x03\n'
    b'\x07Cluster\x12L\n\tMemberAdd\x12\x1e.etcdserverpb.MemberAddRequest\x1a\x1f.etcdserverp'
    b'b.MemberAddResponse\x12U\n\x0cMemberRemove\x12!.etcdserverpb.MemberRemoveRequest\x1a".e'
    b'tcdserverpb.MemberRemoveResponse\x12U\n\x0cMemberUpdate\x12!.etcdserverpb.MemberUpdateR'
    b'equest\x1a".etcdserverpb.MemberUpdateResponse\x12O\n\nMemberList\x12\x1f.etcdserverpb.M'
    b'emberListRequest\x1a .etcdserverpb.MemberListResponse\x12X\n\rMemberPromote\x12".etcdse'
    b'rverpb.MemberPromoteRequest\x1a#.etcdserverpb.MemberPromoteResponse2\xd5\x04\n\x0bMaint'
    b'enance\x12@\n\x05Alarm\x12\x1a.etcdserverpb.AlarmRequest\x1a\x1b.etcdserverpb.AlarmResp'
    b'onse\x12C\n\x06Status\x12\x1b.etcdserverpb.StatusRequest\x1a\x1c.etcdserverpb.StatusRes'
    b'ponse\x12O\n\nDefragment\x12\x1f.etcdserverpb.DefragmentRequest\x1a .etcdserverpb.Defra'
    b'gmentResponse\x12=\n\x04Hash\x12\x19.etcdserverpb.HashRequest\x1a\x1a.etcdserverpb.Hash'
    b'Response\x12C\n\x06HashKV\x12\x1b.etcdserverpb.HashKVRequest\x1a\x1c.etcdserverpb.HashK'
    b'VResponse\x12K\n\x08Snapshot\x12\x1d.etcdserverpb.SnapshotRequest\x1a\x1e.etcdserverpb.'
    b'SnapshotResponse0\x01\x12O\n\nMoveLeader\x12\x1f.etcdserverpb.MoveLeaderRequest\x1a .et'
    b'cdserverpb.MoveLeaderResponse\x12L\n\tDowngrade\x12\x1e.etcdserverpb.DowngradeRequest'
    b'\x1a\x1f.etcdserverpb.DowngradeResponse2\x8e\x0c\n\x04Auth\x12O\n\nAuthEnable\x12\x1f.e'
    b'tcdserverpb.AuthEnableRequest\x1a .etcdserverpb.AuthEnableResponse\x12R\n\x0bAuthDisabl'
    b'e\x12 .etcdserverpb.AuthDisableRequest\x1a!.etcdserverpb.AuthDisableResponse\x12O\n\nAu'
    b'thStatus\x12\x1f.etcdserverpb.AuthStatusRequest\x1a .etcdserverpb.AuthStatusResponse'
    b'\x12U\n\x0cAuthenticate\x12!.etcdserverpb.AuthenticateRequest\x1a".etcdserverpb.Authent'
    b'icateResponse\x12N\n\x07UserAdd\x12 .etcdserverpb.AuthUserAddRequest\x1a!.etcdserverpb.'
    b'AuthUserAddResponse\x12N\n\x07UserGet\x12 .etcdserverpb.AuthUserGetRequest\x1a!.etcdser'
    b'verpb.AuthUserGetResponse\x12Q\n\x08UserList\x12!.etcdserverpb.AuthUserListRequest\x1a"'
    b'.etcdserverpb.AuthUserListResponse\x12W\n\nUserDelete\x12#.etcdserverpb.AuthUserDeleteR'
    b'equest\x1a$.etcdserverpb.AuthUserDeleteResponse\x12o\n\x12UserChangePassword\x12+.etcds'
    b'erverpb.AuthUserChangePasswordRequest\x1a,.etcdserverpb.AuthUserChangePasswordResponse'
    b"\x12`\n\rUserGrantRole\x12&.etcdserverpb.AuthUserGrantRoleRequest\x1a'.etcdserverpb.Aut"
    b"hUserGrantRoleResponse\x12c\n\x0eUserRevokeRole\x12'.etcdserverpb.AuthUserRevokeRoleReq"
    b'uest\x1a(.etcdserverpb.AuthUserRevokeRoleResponse\x12N\n\x07RoleAdd\x12 .etcdserverpb.A'
    b'uthRoleAddRequest\x1a!.etcdserverpb.AuthRoleAddResponse\x12N\n\x07RoleGet\x12 .etcdserv'
    b'erpb.AuthRoleGetRequest\x1a!.etcdserverpb.AuthRoleGetResponse\x12Q\n\x08RoleList\x12!.e'
    b'tcdserverpb.AuthRoleListRequest\x1a".etcdserverpb.AuthRoleListResponse\x12W\n\nRoleDele'
    b'te\x12#.etcdserverpb.AuthRoleDeleteRequest\x1a$.etcdserverpb.AuthRoleDeleteResponse\x12'
    b'r\n\x13RoleGrantPermission\x12,.etcdserverpb.AuthRoleGrantPermissionRequest\x1a-.etcdse'
    b'rverpb.AuthRoleGrantPermissionResponse\x12u\n\x14RoleRevokePermission\x12-.etcdserverpb'
    b'.AuthRoleRevokePermissionRequest\x1a..etcdserverpb.AuthRoleRevokePermissionResponseb'
    b'\x06proto3'
)

ResponseHeader = FILE.messages["ResponseHeader"]
RangeRequest = FILE.messages["RangeRequest"]
RangeResponse = FILE.messages["RangeResponse"]
PutRequest = FILE.messages["PutRequest"]
PutResponse = FILE.messages["PutResponse"]
DeleteRangeRequest = FILE.messages["DeleteRangeRequest"]
DeleteRangeResponse = FILE.messages["DeleteRangeResponse"]
RequestOp = FILE.messages["RequestOp"]
ResponseOp = FILE.messages["ResponseOp"]
Compare = FILE.messages["Compare"]
TxnRequest = FILE.messages["TxnRequest"]
TxnResponse = FILE.messages["TxnResponse"]
CompactionRequest = FILE.messages["CompactionRequest"]
CompactionResponse = FILE.messages["CompactionResponse"]
WatchRequest = FILE.messages["WatchRequest"]
WatchCreateRequest = FILE.messages["WatchCreateRequest"]
WatchCancelRequest = FILE.messages["WatchCancelRequest"]
WatchProgressRequest = FILE.messages["WatchProgressRequest"]
WatchResponse = FILE.messages["WatchResponse"]
LeaseGrantRequest = FILE.messages["LeaseGrantRequest"]
LeaseGrantResponse = FILE.messages["LeaseGrantResponse"]
LeaseRevokeRequest = FILE.messages["LeaseRevokeRequest"]
LeaseRevokeResponse = FILE.messages["LeaseRevokeResponse"]
LeaseCheckpoint = FILE.messages["LeaseCheckpoint"]
LeaseCheckpointRequest = FILE.messages["LeaseCheckpointRequest"]
LeaseCheckpointResponse = FILE.messages["LeaseCheckpointResponse"]
LeaseKeepAliveRequest = FILE.messages["LeaseKeepAliveRequest"]
LeaseKeepAliveResponse = FILE.messages["LeaseKeepAliveResponse"]
LeaseTimeToLiveRequest = FILE.messages["LeaseTimeToLiveRequest"]
LeaseTimeToLiveResponse = FILE.messages["LeaseTimeToLiveResponse"]
LeaseLeasesRequest = FILE.messages["LeaseLeasesRequest"]
LeaseStatus = FILE.messages["LeaseStatus"]
LeaseLeasesResponse = FILE.messages["LeaseLeasesResponse"]
Member = FILE.messages["Member"]
MemberAddRequest = FILE.messages["MemberAddRequest"]
MemberAddResponse = FILE.messages["MemberAddResponse"]
MemberRemoveRequest = FILE.messages["MemberRemoveRequest"]
MemberRemoveResponse = FILE.messages["MemberRemoveResponse"]
MemberUpdateRequest = FILE.messages["MemberUpdateRequest"]
MemberUpdateResponse = FILE.messages["MemberUpdateResponse"]
MemberListRequest = FILE.messages["MemberListRequest"]
MemberListResponse = FILE.messages["MemberListResponse"]
MemberPromoteRequest = FILE.messages["MemberPromoteRequest"]
MemberPromoteResponse = FILE.messages["MemberPromoteResponse"]
AlarmRequest = FILE.messages["AlarmRequest"]
AlarmMember = FILE.messages["AlarmMember"]
AlarmResponse = FILE.messages["AlarmResponse"]
StatusRequest = FILE.messages["StatusRequest"]
StatusResponse = FILE.messages["StatusResponse"]
DefragmentRequest = FILE.messages["DefragmentRequest"]
DefragmentResponse = FILE.messages["DefragmentResponse"]
HashRequest = FILE.messages["HashRequest"]
HashResponse = FILE.messages["HashResponse"]
HashKVRequest = FILE.messages["HashKVRequest"]
HashKVResponse = FILE.messages["HashKVResponse"]
SnapshotRequest = FILE.messages["SnapshotRequest"]
SnapshotResponse = FILE.messages["SnapshotResponse"]
MoveLeaderRequest = FILE.messages["MoveLeaderRequest"]
MoveLeaderResponse = FILE.messages["MoveLeaderResponse"]
DowngradeRequest = FILE.messages["DowngradeRequest"]
DowngradeResponse = FILE.messages["DowngradeResponse"]
AuthEnableRequest = FILE.messages["AuthEnableRequest"]
AuthDisableRequest = FILE.messages["AuthDisableRequest"]
AuthStatusRequest = FILE.messages["AuthStatusRequest"]
AuthenticateRequest = FILE.messages["AuthenticateRequest"]
AuthUserAddRequest = FILE.messages["AuthUserAddRequest"]
AuthUserGetRequest = FILE.messages["AuthUserGetRequest"]
AuthUserListRequest = FILE.messages["AuthUserListRequest"]
AuthUserDeleteRequest = FILE.messages["AuthUserDeleteRequest"]
AuthUserChangePasswordRequest = FILE.messages["AuthUserChangePasswordRequest"]
AuthUserGrantRoleRequest = FILE.messages["AuthUserGrantRoleRequest"]
AuthUserRevokeRoleRequest = FILE.messages["AuthUserRevokeRoleRequest"]
AuthRoleAddRequest = FILE.messages["AuthRoleAddRequest"]
AuthRoleGetRequest = FILE.messages["AuthRoleGetRequest"]
AuthRoleListRequest = FILE.messages["AuthRoleListRequest"]
AuthRoleDeleteRequest = FILE.messages["AuthRoleDeleteRequest"]
AuthRoleGrantPermissionRequest = FILE.messages["AuthRoleGrantPermissionRequest"]
AuthRoleRevokePermissionRequest = FILE.messages["AuthRoleRevokePermissionRequest"]
AuthEnableResponse = FILE.messages["AuthEnableResponse"]
AuthDisableResponse = FILE.messages["AuthDisableResponse"]
AuthStatusResponse = FILE.messages["AuthStatusResponse"]
AuthenticateResponse = FILE.messages["AuthenticateResponse"]
AuthUserAddResponse = FILE.messages["AuthUserAddResponse"]
AuthUserGetResponse = FILE.messages["AuthUserGetResponse"]
AuthUserListResponse = FILE.messages["AuthUserListResponse"]
AuthUserDeleteResponse = FILE.messages["AuthUserDeleteResponse"]
AuthUserChangePasswordResponse = FILE.messages["AuthUserChangePasswordResponse"]
AuthUserGrantRoleResponse = FILE.messages["AuthUserGrantRoleResponse"]
AuthUserRevokeRoleResponse = FILE.messages["AuthUserRevokeRoleResponse"]
AuthRoleAddResponse = FILE.messages["AuthRoleAddResponse"]
AuthRoleGetResponse = FILE.messages["AuthRoleGetResponse"]
AuthRoleListResponse = FILE.messages["AuthRoleListResponse"]
AuthRoleDeleteResponse = FILE.messages["AuthRoleDeleteResponse"]
AuthRoleGrantPermissionResponse = FILE.messages["AuthRoleGrantPermissionResponse"]
AuthRoleRevokePermissionResponse = FILE.messages["AuthRoleRevokePermissionResponse"]
AlarmType = FILE.enums["AlarmType"]
NONE = 0
NOSPACE = 1
CORRUPT = 2
