#include "tokenizer/jinja/heap.h"

namespace quorum::tok::jinja {

Object::Object(Heap& heap, std::size_t bytes) : heap_(heap), charged_(bytes) { heap_.budget().Allocate(bytes); }

Object::~Object() { heap_.budget().Release(charged_); }

void Object::Charge(std::size_t bytes) {
  heap_.budget().Allocate(bytes);
  charged_ += bytes;
}

void Object::Drop() noexcept {
  if (--references_ == 0) heap_.Retire(this);
}

MutableObject::MutableObject(Heap& heap, std::size_t bytes) : Object(heap, bytes), next_(heap.mutable_) {
  if (next_ != nullptr) next_->previous_ = this;
  heap.mutable_ = this;
}

MutableObject::~MutableObject() {
  if (next_ != nullptr) next_->previous_ = previous_;
  if (previous_ != nullptr) {
    previous_->next_ = next_;
  } else {
    heap().mutable_ = next_;
  }
}

void Heap::Retire(Object* object) noexcept {
  object->next_retired_ = retired_;
  retired_ = object;
  if (freeing_) return;  // the loop below, further up the stack, will come to it
  freeing_ = true;
  while (retired_ != nullptr) {
    Object* next = retired_;
    retired_ = next->next_retired_;
    delete next;
  }
  freeing_ = false;
}

Heap::~Heap() {
  // Held once more, all mutable objects stay in the list while they let go of each other.
  for (MutableObject* object = mutable_; object != nullptr; object = object->next_) object->Retain();
  for (MutableObject* object = mutable_; object != nullptr; object = object->next_) object->Clear();
  for (MutableObject* object = mutable_; object != nullptr;) {
    MutableObject* next = object->next_;
    object->Drop();
    object = next;
  }
}

}  // namespace quorum::tok::jinja
