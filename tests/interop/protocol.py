"""Sessions of boto3 that speak one protocol to CloudHSM, whichever botocore would choose."""

import boto3

PROTOCOLS = {"json": "json", "cbor": "smithy-rpc-v2-cbor"}


def session(protocol, region="us-east-1"):
    """A session whose clients of CloudHSM speak `json` or `cbor`."""
    made = boto3.session.Session(region_name=region)
    loader = made._session.get_component("data_loader")
    load = loader.load_service_model

    def load_service_model(name, kind, *rest, **more):
        model = load(name, kind, *rest, **more)
        if name == "cloudhsmv2" and kind == "service-2":
            model["metadata"].update(protocol=PROTOCOLS[protocol], protocols=[PROTOCOLS[protocol]])
        return model

    loader.load_service_model = load_service_model
    return made
