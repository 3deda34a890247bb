//! ttrpc connections from the host, one a stream `rpc`.

use trine_wire::frame::{self, Decoder, MAX_BODY_BYTES, REQUEST, RESPONSE};
use trine_wire::{Message, ttrpc};

use crate::agent::Agent;
use crate::answer::{Answer, Call, Code, Failure, Outcome, failure};
use crate::calls;

const SERVICE: &str = "trine.agent.v1.Agent";
/// A host that does not take its answers is not asked for more questions.
const MAX_BACKLOG: usize = 1 << 20;

#[derive(Default)]
pub struct Rpc {
    decoder: Decoder,
    out: Vec<u8>,
}

impl Rpc {
    pub fn answer(&mut self, number: u32, answer: Answer) {
        let response = match answer {
            Ok(payload) => ttrpc::Response {
                status: None,
                payload,
            },
            Err(Failure(status)) => ttrpc::Response {
                status: Some(status),
                payload: Vec::new(),
            },
        };
        let bytes = response.encode_to_vec();
        if frame::encode(&mut self.out, number, RESPONSE, &bytes).is_err() {
            let text = format!("the answer is over {MAX_BODY_BYTES} bytes");
            self.answer(number, Err(failure(Code::ResourceExhausted, text)));
        }
    }
}

impl Agent {
    /// Sends answers and takes requests, as far as both sides have room.
    pub fn serve(&mut self, id: u32) {
        loop {
            self.send_answers(id);
            let Some(rpc) = self.rpcs.get_mut(&id) else {
                return;
            };
            if rpc.out.len() > MAX_BACKLOG {
                return;
            }
            match rpc.decoder.next_frame() {
                Ok(Some(frame)) if frame.kind == REQUEST => {
                    let call = Call {
                        stream: id,
                        number: frame.stream,
                    };
                    self.request(call, &frame.body);
                }
                Ok(Some(_)) => {}
                Ok(None) => {
                    let data = self.link.mux.data(id);
                    let count = data.len();
                    if count == 0 {
                        break;
                    }
                    rpc.decoder.push(data);
                    self.link.mux.consume(id, count);
                }
                Err(error) => {
                    self.link.mux.abort(id, &error.to_string());
                    self.closed(id);
                    return;
                }
            }
        }
        if self.link.mux.at_end(id) {
            self.link.mux.fin(id);
            self.closed(id);
        }
    }

    fn send_answers(&mut self, id: u32) {
        if let Some(rpc) = self.rpcs.get_mut(&id)
            && !rpc.out.is_empty()
        {
            let taken = self.link.mux.send(id, &rpc.out);
            rpc.out.drain(..taken);
            if rpc.out.is_empty() {
                rpc.out = Vec::new();
            }
        }
    }

    fn request(&mut self, call: Call, body: &[u8]) {
        let handled = match ttrpc::Request::decode(body) {
            Ok(request) if request.service == SERVICE => {
                calls::dispatch(self, call, &request.method, &request.payload)
            }
            Ok(request) => Err(failure(
                Code::Unimplemented,
                format!("no service {:?}", request.service),
            )),
            Err(error) => Err(failure(Code::InvalidArgument, error.to_string())),
        };
        let answer = match handled {
            Ok(Outcome::Later) => return,
            Ok(Outcome::Now(payload)) => Ok(payload),
            Err(failure) => Err(failure),
        };
        if let Some(rpc) = self.rpcs.get_mut(&call.stream) {
            rpc.answer(call.number, answer);
        }
    }
}
