// Loads a SavedModel with TensorFlow's C++ loader, the one TF-Serving uses, and runs one signature:
//
//   load_saved_model FOLDER SIGNATURE NAME=FILE ... > answers
//
// Every FILE is a serialised TensorProto for an input; every answer is a line "output value value ...".
#include <fstream>
#include <iostream>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "tensorflow/cc/saved_model/loader.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/framework/tensor.pb.h"
#include "tensorflow/core/protobuf/meta_graph.pb.h"
#include "tensorflow/core/public/session.h"

int main(int argc, char** argv) {
  tensorflow::SavedModelBundle bundle;
  auto status = tensorflow::LoadSavedModel({}, {}, argv[1], {"serve"}, &bundle);
  if (!status.ok()) {
    std::cerr << status.ToString() << std::endl;
    return 1;
  }
  const auto& signature = bundle.GetSignatures().at(argv[2]);
  std::vector<std::pair<std::string, tensorflow::Tensor>> inputs;
  for (int i = 3; i < argc; ++i) {
    const std::string argument = argv[i];
    const auto split = argument.find('=');
    std::ifstream file(argument.substr(split + 1), std::ios::binary);
    std::stringstream bytes;
    bytes << file.rdbuf();
    tensorflow::TensorProto proto;
    tensorflow::Tensor tensor;
    if (!proto.ParseFromString(bytes.str()) || !tensor.FromProto(proto)) {
      std::cerr << argument << " is no TensorProto" << std::endl;
      return 1;
    }
    inputs.emplace_back(signature.inputs().at(argument.substr(0, split)).name(), tensor);
  }
  std::vector<std::string> names, fetches;
  for (const auto& output : signature.outputs()) {
    names.push_back(output.first);
    fetches.push_back(output.second.name());
  }
  std::vector<tensorflow::Tensor> answers;
  status = bundle.session->Run(inputs, fetches, {}, &answers);
  if (!status.ok()) {
    std::cerr << status.ToString() << std::endl;
    return 1;
  }
  std::cout.precision(9);
  for (size_t i = 0; i < answers.size(); ++i) {
    std::cout << names[i];
    if (answers[i].dtype() == tensorflow::DT_FLOAT) {
      const auto values = answers[i].flat<float>();
      for (int64_t j = 0; j < values.size(); ++j) std::cout << '\t' << values(j);
    } else {
      const auto values = answers[i].flat<tensorflow::tstring>();
      for (int64_t j = 0; j < values.size(); ++j) std::cout << '\t' << std::string(values(j));
    }
    std::cout << '\n';
  }
  return 0;
}
