"""Generated from election.proto by `python -m kvlearn.live.proto`: do not edit."""

# ruff: noqa
import kvlearn.live.proto.kv_pb2  # noqa: F401
import kvlearn.live.proto.rpc_pb2  # noqa: F401
from kvlearn.live.proto.pool import File

FILE = File(
    b'\n\x0eelection.proto\x12\x0cv3electionpb\x1a\x08kv.proto\x1a\trpc.proto"Q\n\x0fCampaign'
    b'Request\x12\x12\n\x04name\x18\x01 \x01(\x0cR\x04name\x12\x14\n\x05lease\x18\x02 \x01('
    b'\x03R\x05lease\x12\x14\n\x05value\x18\x03 \x01(\x0cR\x05value"y\n\x10CampaignResponse'
    b'\x124\n\x06header\x18\x01 \x01(\x0b2\x1c.etcdserverpb.ResponseHeaderR\x06header\x12/\n'
    b'\x06leader\x18\x02 \x01(\x0b2\x17.v3electionpb.LeaderKeyR\x06leader"Y\n\tLeaderKey\x12'
    b'\x12\n\x04name\x18\x01 \x01(\x0cR\x04name\x12\x10\n\x03key\x18\x02 \x01(\x0cR\x03key'
    b'\x12\x10\n\x03rev\x18\x03 \x01(\x03R\x03rev\x12\x14\n\x05lease\x18\x04 \x01(\x03R\x05le'
    b'ase"#\n\rLeaderRequest\x12\x12\n\x04name\x18\x01 \x01(\x0cR\x04name"h\n\x0eLeaderRespon'
    b'se\x124\n\x06header\x18\x01 \x01(\x0b2\x1c.etcdserverpb.ResponseHeaderR\x06header\x12 '
    b'\n\x02kv\x18\x02 \x01(\x0b2\x10.mvccpb.KeyValueR\x02kv"@\n\rResignRequest\x12/\n\x06lea'
    b'der\x18\x01 \x01(\x0b2\x17.v3electionpb.LeaderKeyR\x06leader"F\n\x0eResignResponse\x124'
    b'\n\x06header\x18\x01 \x01(\x0b2\x1c.etcdserverpb.ResponseHeaderR\x06header"X\n\x0fProcl'
    b'aimRequest\x12/\n\x06leader\x18\x01 \x01(\x0b2\x17.v3electionpb.LeaderKeyR\x06leader'
    b'\x12\x14\n\x05value\x18\x02 \x01(\x0cR\x05value"H\n\x10ProclaimResponse\x124\n\x06heade'
    b'r\x18\x01 \x01(\x0b2\x1c.etcdserverpb.ResponseHeaderR\x06header2\xf2\x02\n\x08Election'
    b'\x12I\n\x08Campaign\x12\x1d.v3electionpb.CampaignRequest\x1a\x1e.v3electionpb.CampaignR'
    b'esponse\x12I\n\x08Proclaim\x12\x1d.v3electionpb.ProclaimRequest\x1a\x1e.v3electionpb.Pr'
    b'oclaimResponse\x12C\n\x06Leader\x12\x1b.v3electionpb.LeaderRequest\x1a\x1c.v3electionpb'
    b'.LeaderResponse\x12F\n\x07Observe\x12\x1b.v3electionpb.LeaderRequest\x1a\x1c.v3election'
    b'pb.LeaderResponse0\x01\x12C\n\x06Resign\x12\x1b.v3electionpb.ResignRequest\x1a\x1c.v3el'
    b'ectionpb.ResignResponseb\x06proto3'
)

CampaignRequest = FILE.messages["CampaignRequest"]
CampaignResponse = FILE.messages["CampaignResponse"]
LeaderKey = FILE.messages["LeaderKey"]
LeaderRequest = FILE.messages["LeaderRequest"]
LeaderResponse = FILE.messages["LeaderResponse"]
ResignRequest = FILE.messages["ResignRequest"]
ResignResponse = FILE.messages["ResignResponse"]
ProclaimRequest = FILE.messages["ProclaimRequest"]
ProclaimResponse = FILE.messages["ProclaimResponse"]
