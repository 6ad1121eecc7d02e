"""A store that speaks S3, on this machine."""

import contextlib
import os

BUCKET = "adl"
# Any will do for the store of the tests; tensorflow-io looks for them before it asks.
KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1"}


@contextlib.contextmanager
def serving(folder, prefix):
    """Serves a folder's files as ``s3://adl/<prefix>/``.

    Yields:
        The environment in which commands find the store.
    """
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        address = "http://{}:{}".format(*server.get_host_and_port())
        client = boto3.client(
            "s3",
            endpoint_url=address,
            region_name=KEYS["AWS_REGION"],
            aws_access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
        )
        client.create_bucket(Bucket=BUCKET)
        for path in folder.iterdir():
            if path.is_file():
                client.upload_file(str(path), BUCKET, f"{prefix}/{path.name}")
        yield {**os.environ, **KEYS, "S3_ENDPOINT": address}
    finally:
        server.stop()
